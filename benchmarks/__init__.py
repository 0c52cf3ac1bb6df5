"""Benchmarks. There is none yet."""
