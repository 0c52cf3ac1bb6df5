"""Refuse a mistaken command line at the start, with one sentence and the nearest valid name."""

import itertools
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from hydra import compose
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from experiments.habits import advice, advice_on_value
from experiments.hydra_internals import (
    configurations,
    group_names,
    option_names,
)
from experiments.programs import ADAPTIVE, RUN, Program
from experiments.schema.docs import CONF
from experiments.words import as_one, check_words, parse, refuse_code
from slicing.checks import check_seed
from slicing.errors import InputError, installing

# Hydra's launchers that come as plugins, and the extra that installs each.
_LAUNCHER = "hydra/launcher"
_EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}

_FEW = 12
_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list[int]: "a list of whole numbers such as [1,2]",
    list[bool]: "a list such as [true,false]",
}


def check(
    overrides: Sequence[str],
    multirun: bool = False,
    config_name: str | None = None,
    config_dir: str | None = None,
    complete: bool = True,
    program: Program = RUN,
) -> list[DictConfig]:
    """Compose every configuration that a command line asks for.

    Parameters
    ----------
    overrides : sequence of str
        What stands on the command line: ``optimizer=pso``, ``seed=0,1,2``, ...
    multirun : bool
        Whether lists of values are swept over.
    config_name : str, optional
        The primary configuration; by default the program's.
    config_dir : str, optional
        A folder of further configurations, Hydra's ``--config-dir``.
    complete : bool
        Whether to refuse configurations that lack a mandatory value.
    program : Program
        Whose command line it is.

    Returns
    -------
    list of DictConfig
        One a run, without Hydra's own part; of a continuous sweep only its start.

    Raises
    ------
    InputError
        For the first mistake: unknown names and options, values of the wrong kind, missing values.
    """
    folder = Path(config_dir).resolve() if config_dir else None
    if folder and not folder.is_dir():
        raise InputError(f"--config-dir {config_dir} is not a folder.")
    check_words(overrides)
    with configurations(CONF, folder):
        # What stands in a folder of the user's own may be another the next time.
        composed = _composed if folder is None else cache(_composed.__wrapped__)
        name = config_name or program.config_name
        jobs = list(_jobs(overrides, multirun))
        configs = [_check_job(program, job, partial(composed, name)) for job in jobs]
    if complete:
        _check_launcher(itertools.chain(*jobs), multirun)
    for job, config in zip(jobs, configs, strict=True):
        try:
            for name in sorted(OmegaConf.missing_keys(config) if complete else ()):
                raise InputError(f"{name} is missing: give it as {name}=...")
            # First what was typed: other options may take its value.
            for override in job:
                OmegaConf.select(config, override.key_or_group)
            OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:
            raised = r"\w+ raised while resolving interpolation: "
            reason = re.sub(raised, "", str(error).splitlines()[0]).strip('".')
            raise InputError(
                f"{error.full_key} cannot be resolved: {reason}. ${{...}} stands for another "
                "option, ${oc.env:NAME} for a variable of the environment, \\${...} for itself."
            ) from error
        check_seed(config.seed)
    return configs


def chosen(overrides: Sequence[str]) -> dict[str, str]:
    """Name the option of each group that the command line of a run chooses.

    Parameters
    ----------
    overrides : sequence of str
        What stands on the command line; :func:`check` takes it.

    Returns
    -------
    dict of str to str
        As :func:`experiments.pipeline.run` wants it: ``{"optimizer": "pso", ...}``.
    """
    with configurations(CONF):
        [job] = _jobs(overrides, multirun=False)
        return dict(_composed(RUN.config_name, _choices(RUN, job))[1])


def resumed(overrides: Sequence[str], multirun: bool = False) -> tuple[Path, list[str]] | None:
    """Find out whether a command line resumes a run.

    Parameters
    ----------
    overrides : sequence of str
        What stands on the command line, perhaps with ``resume=<run folder>``.
    multirun : bool
        Whether lists of values are swept over, which resuming does not go with.

    Returns
    -------
    (Path, list of str) or None
        The run's folder, and its own overrides, followed by the others of the command line; None
        where nothing is resumed.

    Raises
    ------
    InputError
        Where the folder is not that of a run which has not ended.
    """
    with configurations(CONF):
        parsed = {line: parse(line) for line in overrides}
        asked = [each for each in parsed.values() if each.key_or_group == "resume"]
        if not asked or (not asked[-1].is_sweep_override() and asked[-1].value() is None):
            return None
        if multirun or asked[-1].is_sweep_override():
            raise InputError(
                "resume takes the folder of one run: give one folder, without --multirun."
            )
        # Here, not above: other command lines need none of it.
        from experiments.resume import load

        folder = Path(str(asked[-1].value())).resolve()
        new = [line for line, each in parsed.items() if each.key_or_group != "resume"]
        old = {line: parse(line).key_or_group for line in load(folder).overrides}
        # A run writes down none of these; what says otherwise is not its own file.
        old = {line: key for line, key in old.items() if not key.startswith("hydra")}
        if any(parsed[line].key_or_group == "executor" for line in new):
            # Another executor has other options.
            old = {line: key for line, key in old.items() if key.split(".")[0] != "executor"}
        return folder, [line for line in old if line not in new and old[line] != "resume"] + new


def _jobs(overrides: Sequence[str], multirun: bool) -> Iterator[list[Override]]:
    """Expand the sweeps as Hydra's sweepers do."""
    values = []
    for override in map(parse, overrides):
        if not override.is_sweep_override():
            values.append([override])
            continue
        if not multirun:
            line = str(override.input_line)
            one = f" If it is one value, write {as_one(line)}." if "/" in line else ""
            raise InputError(f"{line} asks for several runs: add --multirun.{one}")
        sweep = override.value()
        swept: Iterable[object] = (
            [sweep.start] if isinstance(sweep, IntervalSweep) else override.sweep_string_iterator()
        )
        values.append([parse(f"{override.get_key_element()}={value}") for value in swept])
    for job in itertools.product(*values):
        yield list(job)


def check_flags(words: Sequence[str], flags: Sequence[str]) -> None:
    """Refuse words that look like flags and are none: options have no dashes.

    Parameters
    ----------
    words : sequence of str
        The command line.
    flags : sequence of str
        All flags there are; they may be abbreviated.

    Raises
    ------
    InputError
    """
    for word, after in itertools.pairwise([*words, ""]):
        flag, _, value = word.partition("=")
        if not re.match("--?[A-Za-z]", word) or any(each.startswith(flag) for each in flags):
            continue
        name = flag.lstrip("-").replace("-", "_")
        if not value and after and "=" not in after and not after.startswith("-"):
            value = after
        sentence = f"{flag} is no flag: options are written NAME=VALUE, "
        try:
            check([f"{name}={value or '...'}"], complete=False)
        except InputError as error:
            raise InputError(sentence + f"and {error}") from error
        raise InputError(sentence + f"{name}={value or '...'}.")


def _check_job(
    program: Program,
    overrides: list[Override],
    composed: Callable[[tuple[str, ...]], tuple[DictConfig, Mapping[str, str]]],
) -> DictConfig:
    """Check one run: first the options of the groups, then names and values."""
    for override in overrides:
        refuse_code(override)
    choices = _choices(program, overrides)
    try:
        config = composed(choices)[0].copy()
    except HydraException as error:
        raise InputError(_uncomposed(program, error)) from error
    known = [*_names(config), *group_names()]
    for override in overrides:
        name = override.key_or_group
        if override.input_line in choices or name.startswith("hydra."):
            continue
        if name not in known:
            raise InputError(f"{name} is unknown: {_suggest_name(program, name, known)}")
        try:
            OmegaConf.update(config, name, override.value())
        except OmegaConfBaseException as error:
            raise InputError(_unfit(config, name, override.get_value_string())) from error
    return config


def _check_launcher(overrides: Iterable[Override], multirun: bool) -> None:
    """Refuse a launcher that would not be used, or that would not find its cluster."""
    for override in overrides:
        line, launcher = override.input_line, override.get_value_string()
        if override.key_or_group != _LAUNCHER or launcher not in _EXTRAS:
            continue
        if not multirun:
            raise InputError(f"{line} is for sweeps: add --multirun.")
        if launcher == "submitit_slurm" and not shutil.which("srun"):
            raise InputError(
                f"{line} finds no SLURM here (no srun): start the sweep where there is, or try it "
                f"out with {_LAUNCHER}=submitit_local."
            )


def _choices(program: Program, overrides: Iterable[Override]) -> tuple[str, ...]:
    """Give the words that choose an option of a group; refuse options that are not there."""
    return tuple(str(each.input_line) for each in overrides if _is_choice(program, each))


def _is_choice(program: Program, override: Override) -> bool:
    """Whether an override chooses an option of a group; refuse options that are not there."""
    group, line = override.key_or_group, override.input_line
    if override.is_delete():
        raise InputError(f"{line} would remove an option: give it a value instead.")
    options = [option for option in option_names(group) if not option.startswith("base_")]
    if not options:
        return False
    option = override.get_value_string()
    extras = _EXTRAS if group == _LAUNCHER else {}
    if option not in options:
        if option in extras:
            raise InputError(f"{line} is not installed: {installing(extras[option])}")
        known = sorted({*options, *extras})
        if words := advice_on_value(group, option, known):
            raise InputError(f"{group}={option} is unknown: {words}")
        raise InputError(f"{group}={option} is unknown: {_suggest(option, known, f'{group}=')}")
    for other, what in ((RUN, "a run"), (ADAPTIVE, ADAPTIVE.module)):
        if group in other.groups and group not in program.groups:
            raise InputError(
                f"{line} is for {what}: {program.module} has no {group}, leave it out."
            )
    # Groups that the defaults choose nothing from: conf/experiment, conf/debug.
    if not override.is_add() and group in set(group_names()) - {
        each.name for each in fields(program.schema)
    }:
        raise InputError(f"{line} comes on top of the defaults: write +{line}")
    return True


@cache
def _composed(config_name: str, choices: tuple[str, ...]) -> tuple[DictConfig, Mapping[str, str]]:
    """Compose once, for it takes a fifth of a second; also the option of each group."""
    config = compose(config_name, list(choices), return_hydra_config=True)
    options = config.hydra.runtime.choices.items()
    with open_dict(config):
        del config["hydra"]
    return config, {group: name for group, name in options if not group.startswith("hydra/")}


def _uncomposed(program: Program, error: HydraException) -> str:
    """Explain a configuration that Hydra cannot compose."""
    foreign = re.search(r"In '(.+?)/(.+?)':.*\n?Key '(\w+)' .*not in '(\w+)'", str(error))
    if foreign and foreign[1] not in program.groups:
        preset = f"+{foreign[1]}={foreign[2]}"
        return (
            f"{preset} sets {foreign[3]}, which the chosen {foreign[4]} does not have: leave "
            f"{preset} out, and give its other values on the command line."
        )
    lines = str(error.__cause__ or error).strip().splitlines()
    # A line that ends in a colon says where, and the next one what is wrong there.
    reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".")
    return f"The configuration cannot be composed: {reason}."


def _unfit(config: DictConfig, name: str, value: str) -> str:
    """Explain a value that is not of its field's type."""
    owner, _, field = name.rpartition(".")
    schema = OmegaConf.get_type(OmegaConf.select(config, owner) if owner else config)
    kind: Any = get_type_hints(schema).get(field) if is_dataclass(schema) else None
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    null = " or null" if NoneType in kinds else ""
    kind = next(each for each in kinds if each is not NoneType)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"{name}={value} is unknown: {_suggest(value, list(kind.__members__), f'{name}=')}"
    wanted = _KINDS.get(kind, "one of its options")
    return f"{name}={value} is not possible: it must be {wanted}{null}."


def _suggest(word: str, known: Sequence[str], prefix: str = "") -> str:
    """Name the nearest of the valid names, or all where none is near."""
    nearest = get_close_matches(word, known, n=1)
    if nearest:
        return f"did you mean {prefix}{nearest[0]}?"
    if len(known) > _FEW:
        return "see --help for the names there are."
    return f"choose one of {', '.join(known)}."


def _suggest_name(program: Program, name: str, known: Sequence[str]) -> str:
    """Name the nearest option: within the same group, or anywhere."""
    owner, dot, field = name.rpartition(".")
    known = [each for each in known if not each.rpartition(".")[2].startswith("_")]
    siblings = [each for each in known if each.rpartition(".")[0] == owner]
    others = [
        option
        for option, schema in program.groups.get(owner, {}).items()
        if field in {each.name for each in fields(schema)}
    ]
    if field in program.groups:
        return f"did you mean {field}={'|'.join(program.groups[field])}?"
    if others:
        # One's own images come first: people look for them here.
        others.sort(key=lambda option: option != "folder")
        choices = " or ".join(f"{owner}={option}" for option in others)
        return f"it belongs to {choices}: add {'it' if len(others) == 1 else 'one'}."
    if words := advice(name):
        return words
    if owner in known and siblings:
        return _suggest(field, [each[len(owner + dot) :] for each in siblings], owner + dot)
    elsewhere = [each for each in known if each.rpartition(".")[2] == field]
    return _suggest(name, known) if not elsewhere else _suggest(elsewhere[0], elsewhere)


def _names(config: DictConfig, owner: str = "") -> list[str]:
    """Names of all values and nodes of a configuration, with dots."""
    names = []
    for name in map(str, config):
        names.append(f"{owner}{name}")
        node = config._get_node(name)
        if isinstance(node, DictConfig) and not (node._is_missing() or node._is_none()):
            names += _names(node, f"{owner}{name}.")
    return names
