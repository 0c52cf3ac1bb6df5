"""The inference engine: conv stack, projection, references and k, in one file."""

from slicing.engine.engine import Engine
from slicing.engine.recipe import Recipe

__all__ = ["Engine", "Recipe"]
