"""Adaptive systems: several engines as one classifier, from its members to its report."""
