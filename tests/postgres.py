"""A server of PostgreSQL for tests, where its programs are installed."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest


def pg_ctl() -> Path | None:
    """Find the program that starts servers; Debian keeps it off the path."""
    found = shutil.which("pg_ctl")
    places = [Path(found)] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), reverse=True)
    return next((place.resolve() for place in places), None)


@contextmanager
def server() -> Iterator[str]:
    """Start a server that listens on a socket in a folder of its own, and give its address."""
    program = pg_ctl()
    if program is None:
        pytest.skip("PostgreSQL is not installed")
    # Not pytest's own folder, nor $TMPDIR: nobody else may enter the first, perhaps not the second,
    # and the path of a socket is short.
    folder = Path(mkdtemp(prefix="pg", dir="/tmp"))
    # It refuses to run as root.
    who = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
    options = who if os.geteuid() == 0 else {}
    if options:
        shutil.chown(folder, "nobody")

    def run(*words: str) -> None:
        with (folder / "log").open("ab") as log:
            subprocess.run(
                [program, "-D", folder / "data", *words], check=True, cwd=folder, stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, timeout=120, **options,
            )  # fmt: skip

    try:
        run("initdb", "-o", "--auth=trust --username=study --no-sync --encoding=UTF8 --locale=C")
        run("start", "-w", "-l", str(folder / "server"), "-o", f"-k {folder} -h '' -F")
        try:
            yield f"postgresql://study@/postgres?host={folder}"
        finally:
            run("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)
