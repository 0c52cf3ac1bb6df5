"""The command line: configuration, tracking, progress, figures and summary of experiments."""

import sys

if sys.argv[:1] == ["-m"]:
    # Python is looking for the program that it was told to start, which takes a second to import.
    from experiments.signals import watch

    watch()
