"""Convert an engine for another runtime: ``python -m experiments.export --help``."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from omegaconf import MISSING

from experiments.progress import Terminal
from experiments.tools import run_tool
from slicing import tensor_file
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.files import require_writable
from slicing.memory import set_bound


class Format(Enum):
    """Formats, by their files' suffix."""

    litert = ".tflite"
    onnx = ".onnx"


@dataclass
class Options:
    """Convert an engine, the file engine.safetensors of a run, to one graph of another format."""

    engine: str = MISSING
    """The engine's file, engine.safetensors in the folder of a run."""
    format: Format = MISSING
    """litert (TensorFlow Lite) or onnx."""
    output: str | None = None
    """Where to write it; null: beside the engine, as .tflite or .onnx."""
    max_gigabytes: float | None = None
    """Gigabytes of memory above which the engine is refused before it is read; null: what there
    is."""


def main(options: Options) -> None:
    """Write the converted engine, and say where and how large it is."""
    # Here, not above: --help and a mistake on the command line need none of it.
    from slicing.engine.export import to_litert, to_onnx

    source = Path(options.engine).expanduser()
    suffix = options.format.value
    if not source.name:
        raise InputError("engine= names no file: give that of an engine.")
    target = Path(options.output).expanduser() if options.output else source.with_suffix(suffix)
    if target.suffix != suffix:
        raise InputError(
            f"output={target} must end in {suffix}, by which runtimes know the format."
        )
    if target.resolve() == source.resolve():
        raise InputError(f"output={target} is the engine itself: name another file.")
    if not target.parent.is_dir():
        raise InputError(f"There is no folder {target.parent}: create it.")
    if target.is_dir():
        raise InputError(f"output={target} is a folder: name a file.")
    require_writable(target.parent)
    set_bound(options.max_gigabytes)
    engine = Engine.load(source)
    with Terminal() as terminal:
        terminal.say(f"Converting {source}")
        content = to_litert(engine) if options.format == Format.litert else to_onnx(engine)
    tensor_file.write(target, content)
    print(f"{target}: {len(content):,} bytes ({source.name}: {engine.total_bytes:,})")


if __name__ == "__main__":
    run_tool("experiments.export", Options, main)
