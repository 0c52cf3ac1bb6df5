"""Exact nearest neighbors."""

from slicing.neighbors.exact import kneighbors as kneighbors
