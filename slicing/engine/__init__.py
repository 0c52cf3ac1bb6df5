"""The inference engine: conv stack, projection, references and k, in one file."""

from slicing.engine.classifier import Engine as Engine
