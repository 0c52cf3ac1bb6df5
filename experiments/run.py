"""Run an experiment: ``python -m experiments.run --help``.

Exit codes: 0 for a run to the end; 130, 143 or 129 for one that Ctrl-C, SIGTERM or SIGHUP ended
(what was found until then is evaluated, logged and saved); 2 for what the user can mend, with one
sentence on standard error.
``resume=<its folder>`` resumes a run that did not end.
"""

import logging
import os
import re
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from experiments.console import MISTAKE, Sentences, exit_on_mistake, no_access, of_threads, say
from experiments.folders import remove_if_only
from experiments.hydra_internals import VERSION_BASE, flags, parsed_arguments
from experiments.overrides import check, check_flags, resumed
from experiments.progress import Terminal
from experiments.schema.docs import CONF
from experiments.secrets import masked
from experiments.signals import deferred
from experiments.words import of_path, quoted
from slicing.errors import InputError
from slicing.files import is_full

log = logging.getLogger(__name__)


class _JobFailedError(Exception):
    """One run of a sweep failed; the others continue. Its arguments: the folder, the sentence."""


def main() -> None:
    """Check the command line as a whole, then let Hydra run what it asks for."""
    # Hydra would print tracebacks of its own where an exception has to reach this function.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # On a full disk logging fails too; keep it from printing tracebacks.
    logging.raiseExceptions = False
    with exit_on_mistake(_SENTENCES):
        with deferred():
            check_flags(sys.argv[1:], flags())
            arguments = parsed_arguments()
            if arguments.experimental_rerun:
                raise InputError("--experimental-rerun executes a file: start the run again.")
            given = [word for word in sys.argv[1:] if word not in arguments.overrides]
            only_shows = arguments.help or arguments.cfg or arguments.info
            overrides = _with_resumed(arguments.overrides, arguments.multirun)
            if not (arguments.hydra_help or arguments.shell_completion):
                configs = check(
                    overrides,
                    arguments.multirun,
                    arguments.config_name,
                    arguments.config_dir,
                    complete=not only_shows,
                )
                overrides = _without_password(overrides, configs)
            # Hydra itself wants its flags before everything else.
            sys.argv[1:] = [*given, *overrides]
        if arguments.help:
            # Here, not above: a run needs none of it.
            from experiments.help import help_page

            say(help_page(configs[0]), sys.stdout)
        elif arguments.multirun and not only_shows:
            _sweep(configs, overrides)
        else:
            _job()


def _of_hydra(error: HydraException) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0]


def _of_job(error: _JobFailedError) -> str:
    # The run has said so itself, but that of a cluster not on this console.
    folder, sentence = error.args
    return f"A run of the sweep failed, {folder}: {sentence}"


def _of_killed(error: RuntimeError) -> str | None:
    # What joblib and submitit raise where the process of a run was killed.
    if not isinstance(error, BrokenExecutor) and type(error).__name__ != "UncompletedJobError":
        return None
    reason = " ".join(str(error).strip().splitlines()[:2]).strip()
    return f"A run of the sweep was killed: {reason}"


_SENTENCES: Sentences = {
    HydraException: _of_hydra,
    _JobFailedError: _of_job,
    RuntimeError: _of_killed,
}


@hydra.main(config_path=str(CONF), config_name="config", version_base=VERSION_BASE)
def _job(config: DictConfig) -> float:
    """Run one experiment; its loss is what Hydra's sweepers minimize."""
    settings = HydraConfig.get()
    choices = {k: v for k, v in settings.runtime.choices.items() if not k.startswith("hydra/")}
    folder, overrides = Path(settings.runtime.output_dir), settings.overrides.task
    # With hydra.job.chdir, too, what is relative is so to the folder of the start.
    os.chdir(settings.runtime.cwd)
    try:
        with Terminal() as terminal:
            asked = [each for each in overrides if not each.startswith("tracking.parent=")]
            terminal.say(f"Running {' '.join(asked) or 'the defaults'}: {folder}")
            # Here, not above: it takes seconds, and --help and mistakes on the command line do not
            # need it.
            with deferred():
                from experiments.pipeline import run
                from experiments.stages import ENGINE

            summary = run(config, choices, folder, overrides, terminal)
    except InputError as error:
        mistake = f"{error}{_way_on(folder, is_mistake=True)}"
        log.info("Ended: %s", error)
    except OSError as error:
        # Of a full disk everybody knows what to do; what else is refused stays so.
        is_mistake = not is_full(error)
        mistake = f"{no_access(error)}{_way_on(folder, is_mistake)}"
        log.info("The experiment failed.", exc_info=True)
    except KeyboardInterrupt as error:
        _remove_refused(settings)
        way = _way_on(folder)
        raise KeyboardInterrupt(
            f"Interrupted.{way}" if way else "Interrupted before there was anything to keep."
        ) from error
    except Exception as error:
        # A launcher brings the exception to the parent process, but not its traceback.
        log.info("The experiment failed.", exc_info=True)
        sentence = of_threads(error) if isinstance(error, ValueError) else None
        if sentence is None:
            raise
        mistake = sentence + _way_on(folder, is_mistake=True)
    else:
        say(f"\n{summary.text()}\n\nEngine, report.html, figures and log: {folder}", sys.stdout)
        engine = of_path("engine", folder / ENGINE)
        say(f"Classify with it: python -m experiments.predict {engine} images=...", sys.stdout)
        if summary.mlflow_model:
            from experiments.mlflow_store import serving

            command = serving(config.tracking.uri, summary.mlflow_model)
            say(f"MLflow model {summary.mlflow_model}, served by: {command}", sys.stdout)
        if summary.interrupted:
            raise KeyboardInterrupt(f"Interrupted.{_way_on(folder)}")
        return summary.loss_after
    _remove_refused(settings)
    say(mistake)
    if settings.mode == RunMode.RUN:
        sys.exit(MISTAKE)
    raise _JobFailedError(str(folder), mistake)


def _remove_refused(settings: HydraConf) -> None:
    """Remove the folder of a run that was refused: it holds no more than Hydra has put there."""
    own = {str(settings.output_subdir), f"{settings.job.name}.log"}
    remove_if_only(Path(settings.runtime.output_dir), own)


def _way_on(folder: Path, is_mistake: bool = False) -> str:
    """Say how to resume a run that has not ended; nothing where it cannot be resumed.

    After a mistake the same would follow, so it says what must come first.
    """
    from experiments.resume import has_begun, load

    if not has_begun(folder):
        return ""
    try:
        load(folder)
    except InputError:
        return ""
    # A program of the user's own brings options that ours does not know.
    program = sys.argv[0]
    is_own = program.endswith(".py") and Path(program).resolve() != Path(__file__).resolve()
    start = f"python {program}" if is_own else "python -m experiments.run"
    lead = "Nothing is lost: resume it by"
    if is_mistake:
        lead = (
            "What was found is kept. Once that is mended (of the options only executor, tracking "
            "and paths of images and models may be other ones), resume it by"
        )
    return f" {lead} {start} {of_path('resume', folder)}"


def _with_resumed(overrides: list[str], multirun: bool) -> list[str]:
    """Replace ``resume=<run folder>`` by the command line of that run."""
    run = resumed(overrides, multirun)
    if run is None:
        return overrides
    folder, overrides = run
    return [*overrides, f"resume={quoted(folder)}", f"hydra.run.dir={quoted(folder)}"]


def _without_password(overrides: list[str], configs: list[DictConfig]) -> list[str]:
    """Keep the password of MLflow's address from Hydra, which writes down what it is given."""
    addresses = {each.tracking.uri for each in configs}
    if not any(address and masked(address) != address for address in addresses):
        return overrides
    if len(addresses) > 1:
        raise InputError("tracking.uri has a password and several values: give one.")
    # Here, not above: other command lines need none of it.
    from experiments.mlflow_store import hide_password

    others = [each for each in overrides if not re.match(r"\+*tracking\.uri=", each)]
    return [*others, f"tracking.uri={quoted(hide_password(addresses.pop()))}"]


def _sweep(configs: list[DictConfig], overrides: list[str]) -> None:
    """Run a sweep, with one parent run in MLflow."""
    from experiments.mlflow_store import connect
    from experiments.parents import ParentRun

    stores = {(each.tracking.uri, each.tracking.experiment) for each in configs}
    for store in stores:
        # Before the runs, which may be processes, race for creating it.
        connect(*store)
    if len(stores) > 1 or any(each.tracking.parent for each in configs):
        _launch()
        return
    words = [word for word in overrides if not word.startswith("hydra")]
    # Swept options first, since the name may be cut; commas within brackets are no sweep.
    name = " ".join(sorted(words, key=lambda word: "," not in re.sub(r"\[.*?\]", "", word)))
    with ParentRun(*stores.pop(), f"sweep {name}".strip()) as parent:
        sys.argv.append(parent.override)
        try:
            _launch()
        finally:
            if table := parent.table():
                say(f"\n{table}", sys.stdout)


def _launch() -> None:
    """Let Hydra launch the runs of a sweep; its folder goes where all were refused."""
    try:
        _job()
    except _JobFailedError as error:
        remove_if_only(Path(error.args[0]).parent, {"multirun.yaml"})
        raise


if __name__ == "__main__":
    main()
