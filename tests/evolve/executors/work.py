"""Work for processes; they import no more than this."""

import os
import signal
import sys
from threading import Event


def work(task):
    """Do what a word says."""
    word, *rest = task.split()
    if word == "half":
        return float(rest[0]) / 2, os.getpid()
    if word == "print":
        print("to stdout")
        print("to stderr", file=sys.stderr)
        # A file is written when it is full, otherwise.
        sys.stdout.flush()
    if word == "exit":
        os._exit(int(rest[0]))
    if word == "signal":
        os.kill(os.getpid(), signal.Signals[rest[0]])
    if word == "raise":
        raise MemoryError if rest[0] == "MemoryError" else ValueError("It is odd.")
    if word == "lambda":
        return lambda: None
    if word == "memory":
        filled = b"x" * int(rest[0])
        Event().wait()
        return len(filled)
    if word == "hang":
        Event().wait()
    return word, os.getpid()


class Unborn:
    """Ends the process that it is sent to."""

    def __init__(self, births):
        self.births = births

    def __setstate__(self, state):
        self.__dict__.update(state)
        with self.births.open("a") as file:
            file.write("born\n")
        os._exit(5)

    def __call__(self, task):
        return task
