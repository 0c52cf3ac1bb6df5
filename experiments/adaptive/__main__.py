"""Make several engines one classifier: ``python -m experiments.adaptive --help``.

Exit codes: 0; 2 for what the user can mend, with one sentence on standard error.
"""

import sys

from experiments.command_line import read_command_line
from experiments.console import exit_on_mistake, say
from experiments.programs import ADAPTIVE
from experiments.progress import Terminal


def main() -> None:
    """Check the command line, make the system, and say what came of it."""
    with exit_on_mistake():
        overrides, configs = read_command_line(ADAPTIVE)
        if not configs:
            return
        with Terminal() as terminal:
            terminal.say("Checking the options")
            # Here, not above: --help and mistakes on the command line do not need it.
            from experiments.adaptive.program import adaptive

            summary = adaptive(configs[0], overrides, terminal)
        say(f"{summary.text()}\n\nSystem and report: {summary.folder}", sys.stdout)


if __name__ == "__main__":
    main()
