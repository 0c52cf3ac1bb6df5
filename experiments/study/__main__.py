"""Search for the best classifier of some images: ``python -m experiments.study --help``.

Exit codes: 0 for a study to its end; 130, 143 or 129 where Ctrl-C, SIGTERM or SIGHUP ended it (the
best that was found is tested and saved); 2 for what the user can mend, with one sentence on
standard error.
"""

import sys
import time

from experiments.command_line import read_command_line
from experiments.console import exit_on_mistake, say
from experiments.programs import STUDY
from experiments.progress import Terminal


def main() -> None:
    """Check the command line, search, and say what was found."""
    begun = time.monotonic()
    with exit_on_mistake():
        overrides, configs = read_command_line(STUDY, complete=_with_resumed)
        if not configs:
            return
        with Terminal() as terminal:
            terminal.say("Looking at the images")
            # Here, not above: --help and mistakes on the command line do not need it.
            from experiments.study.origin import has_budget
            from experiments.study.study import study

            more = has_budget(sys.argv[1:])
            summary = study(configs[0], overrides, terminal, begun, more)
        say(f"{summary.text()}\n\nEngine and report: {summary.folder}", sys.stdout)
        if summary.ended == "interrupted":
            raise KeyboardInterrupt("Interrupted.")


def _with_resumed(overrides: list[str]) -> list[str]:
    # Here, not above: a mistake in a word is told without it.
    from experiments.study.origin import resumed

    return resumed(overrides)


if __name__ == "__main__":
    main()
