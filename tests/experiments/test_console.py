"""Lines that nobody reads any more."""

import os

from experiments.console import say
from experiments.progress import Progress


def test_a_line(capsys):
    say("one")
    assert capsys.readouterr().out == "one\n"


def test_whoever_read_it_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        progress = Progress(stream)
        say("nobody", stream)
        progress.say("hears")
        with progress.task("this"):
            progress.show(0.5, "or that")
        # Nor is there anything left for closing it to fail at.
