"""Several engines as one classifier that spends on each image what it needs."""

from slicing.adaptive.loading import load
from slicing.adaptive.system import System

__all__ = ["System", "load"]
