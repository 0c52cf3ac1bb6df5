"""Benchmarks: how fast the fitness is, beside others that compute the same."""

# It watches for Ctrl-C while the benchmark that Python was told to start is imported.
import experiments  # noqa: F401
