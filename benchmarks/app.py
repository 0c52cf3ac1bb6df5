"""The app under bad uploads, kills and many viewers: ``python -m benchmarks.app``.

A server of its own is started for each part, and asked over HTTP, as browsers and programs do.

archives
    Hostile and damaged archives are sent: each is taken, or refused with one sentence.
kills
    The server is killed (SIGKILL) at random moments while jobs wait and work, and started again;
    then a job is killed, and goes on.
load
    A study works alone, then another while people look at it and send photos.
first
    Photos are sent and a study is started: how soon there is a classifier to try.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.app_faults import Archives, Kills, archives, kills
from benchmarks.app_load import First, Load, first, load
from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from experiments.console import exit_on_mistake, say
from experiments.tables import table
from slicing.checks import at_least, one_of
from slicing.errors import InputError

PARTS = ("archives", "kills", "load", "first")


def report(found: Mapping[str, Any]) -> str:
    """Set the figures of the parts in tables.

    Parameters
    ----------
    found : mapping
        As the file has it.
    """
    tables = []
    if of := found.get("archives"):
        faults = ", ".join(f"{name}: {n}" for name, n in of["faults"].items()) or "none"
        header = ["archives sent", "data sets", "refused in one sentence", "faults"]
        tables.append((header, [[str(of["sent"]), str(of["taken"]), str(of["refused"]), faults]]))
    if of := found.get("kills"):
        header = [
            "kills of the server",
            "jobs",
            "finished",
            "lost",
            "twice",
            "a job that was killed",
        ]
        names = ("kills", "jobs", "finished", "lost", "twice", "killed_job")
        tables.append((header, [[str(of[name]) for name in names]]))
    if of := found.get("load"):
        header = [
            "viewers", "uploads at once", "pages", "s a page, median", "95 % within",
            "s, slowest upload", "trials alone", "watched",
        ]  # fmt: skip
        tables.append((header, [[
            str(of["viewers"]), str(of["uploads"]), f"{of['pages']:,}", f"{of['median']:.2f}",
            f"{of['p95']:.2f}", f"{of['upload_seconds']:.1f}", str(of["trials_alone"]),
            str(of["trials_watched"]),
        ]]))  # fmt: skip
    if of := found.get("first"):
        header = ["photos", "MB", "s to a data set", "s to a classifier that can be tried"]
        tables.append((header, [[
            str(of["photos"]), f"{of['bytes'] / 1e6:.1f}", f"{of['upload_seconds']:.1f}",
            f"{of['seconds']:.1f}",
        ]]))  # fmt: skip
    return "\n\n".join("\n".join(table(*each)) for each in tables)


def main() -> None:
    """Do the parts, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app", description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--archives", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--uploads", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0, help="that a study is watched")
    parser.add_argument("--directory", type=Path, help="class folders of photos, for first")
    parser.add_argument("--photos", type=int, default=500, help="of these that are sent")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results there")
    given = parser.parse_args()
    for name in ("archives", "kills", "viewers", "uploads", "photos"):
        at_least(f"--{name}", getattr(given, name), 1)
    parts = given.parts.split(",")
    for part in parts:
        one_of("--parts", part, [*PARTS])
    if "first" in parts and (given.directory is None or not given.directory.is_dir()):
        raise InputError("first needs photos: give --directory, or --parts without it.")
    output = Output("--json", given.json) if given.json else None
    found: dict[str, Any] = origin(command_line("benchmarks.app"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work: dict[str, Callable[[], Archives | Kills | Load | First]] = {
            "archives": lambda: archives(folder / "archives", given.archives, given.seed),
            "kills": lambda: kills(folder / "kills", given.kills, given.seed),
            "load": lambda: load(folder / "load", given.viewers, given.uploads, given.seconds),
            "first": lambda: first(folder / "first", given.directory, given.photos),
        }
        for part in parts:
            say(f"Measuring {part}")
            found[part] = asdict(work[part]())
    print(report(found))
    if output is not None:
        output.write_json(found)


if __name__ == "__main__":
    with exit_on_mistake():
        main()
