"""Several engines as one classifier that spends on each image what it needs."""

from slicing.adaptive.system import System

__all__ = ["System"]
