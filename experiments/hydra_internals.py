"""The private parts of Hydra 1.3 that this project uses, all in one place."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

VERSION_BASE = "1.3"


def flags() -> Sequence[str]:
    """List the flags of a command line."""
    return [*get_args_parser()._option_string_actions]


def parsed_arguments() -> argparse.Namespace:
    """Read the process's command line as Hydra does: flags, and ``overrides``."""
    return get_args_parser().parse_intermixed_args()


@contextmanager
def configurations(conf: Path, config_dir: Path | None = None) -> Iterator[None]:
    """Let Hydra find configurations in a folder, for as long as the block of a ``with`` statement.

    Parameters
    ----------
    conf : Path
    config_dir : Path, optional
        A folder that is searched first.
    """
    with initialize_config_dir(str(conf), version_base=VERSION_BASE):
        if config_dir is not None:
            path = create_config_search_path(str(conf))
            path.prepend("command-line", f"file://{config_dir}", SearchPathQuery(provider="schema"))
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("run", path)
        yield


def parse_override(line: str) -> Override:
    """Read one word of a command line; a sweep is only known within :func:`configurations`.

    Raises
    ------
    hydra.errors.HydraException
        Where it cannot be read.
    """
    hydra = GlobalHydra.instance()
    loader = hydra.config_loader() if hydra.is_initialized() else None
    override: Override = OverridesParser.create(loader).parse_override(line)
    return override


def option_names(group: str) -> Sequence[str]:
    """Name the options of a group, within :func:`configurations`; none where there is no group."""
    names: list[str] = _repository().get_group_options(group, ObjectType.CONFIG)
    return names


def group_names() -> Sequence[str]:
    """Name all groups, within :func:`configurations`."""
    names: list[str] = _repository().get_group_options("", ObjectType.GROUP)
    return names


def _repository() -> Any:
    """Give what knows the groups: the loader's own methods copy all of it for every question."""
    loader: Any = GlobalHydra.instance().config_loader()
    return loader.repository
