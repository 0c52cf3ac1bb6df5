"""Search for the best classifier of some images: ``python -m experiments.study --help``.

Exit codes: 0 for a study to its end; 130, 143 or 129 where Ctrl-C, SIGTERM or SIGHUP ended it (the
best that was found is tested and saved); 2 for what the user can mend, with one sentence on
standard error.
"""

import sys
import time

from experiments.console import exit_on_mistake, say
from experiments.overrides import check, check_flags
from experiments.programs import STUDY
from experiments.progress import Terminal


def main() -> None:
    """Check the command line, search, and say what was found."""
    begun = time.monotonic()
    with exit_on_mistake():
        asks_for_help = bool({"--help", "-h"} & set(sys.argv[1:]))
        overrides = [word for word in sys.argv[1:] if word not in ("--help", "-h")]
        check_flags(overrides, [])
        # Here, not above: a mistake in a word is told without it.
        from experiments.study.origin import has_budget, resumed

        more, overrides = has_budget(overrides), resumed(overrides)
        [config] = check(overrides, complete=not asks_for_help, program=STUDY)
        if asks_for_help:
            # Here, not above: a study needs none of it.
            from experiments.help import help_page

            say(help_page(config, STUDY), sys.stdout)
            return
        with Terminal() as terminal:
            terminal.say("Looking at the images")
            # Here, not above: --help and mistakes on the command line do not need it.
            from experiments.study.study import study

            summary = study(config, overrides, terminal, begun, more)
        say(f"{summary.text()}\n\nEngine and report: {summary.folder}", sys.stdout)
        if summary.ended == "interrupted":
            raise KeyboardInterrupt("Interrupted.")


if __name__ == "__main__":
    main()
