"""Make several engines one classifier: ``python -m experiments.adaptive --help``.

Exit codes: 0; 2 for what the user can mend, with one sentence on standard error.
"""

import sys

from experiments.console import exit_on_mistake, say
from experiments.overrides import check, check_flags
from experiments.programs import ADAPTIVE
from experiments.progress import Terminal


def main() -> None:
    """Check the command line, make the system, and say what came of it."""
    with exit_on_mistake():
        asks_for_help = bool({"--help", "-h"} & set(sys.argv[1:]))
        overrides = [word for word in sys.argv[1:] if word not in ("--help", "-h")]
        check_flags(overrides, [])
        [config] = check(overrides, complete=not asks_for_help, program=ADAPTIVE)
        if asks_for_help:
            # Here, not above: making a system needs none of it.
            from experiments.help import help_page

            say(help_page(config, ADAPTIVE), sys.stdout)
            return
        with Terminal() as terminal:
            terminal.say("Reading the images")
            # Here, not above: --help and mistakes on the command line do not need it.
            from experiments.adaptive.program import adaptive

            summary = adaptive(config, overrides, terminal)
        say(f"{summary.text()}\n\nSystem and report: {summary.folder}", sys.stdout)


if __name__ == "__main__":
    main()
