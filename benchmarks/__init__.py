"""Benchmarks: how fast the fitness is, beside others that compute the same."""
