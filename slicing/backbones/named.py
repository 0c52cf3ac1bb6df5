"""Pretrained networks by their names."""

import re
from pathlib import Path

from slicing.backbones.applications import application, check_weights
from slicing.backbones.efficientnet_lite import efficientnet_lite
from slicing.backbones.network import Network
from slicing.errors import InputError

_LITE = re.compile(r"efficientnet_lite(\d)")


def named(
    name: str,
    image_size: tuple[int, int] | None = None,
    weights: str | Path | None = None,
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> Network:
    """Give a pretrained network.

    Parameters
    ----------
    name : str
        ``efficientnet_lite0``, ``1`` or ``2``, or a network of ``keras.applications``.
    image_size : (int, int), optional
        Height and width of the images; by default, what it was trained on.
    weights : path, optional
        For a network of ``keras.applications``: a file of weights, as Keras offers it or
        ``model.save_weights`` writes it, of the network without its head. By default those of
        ImageNet, which Keras downloads once.
    threads : int, optional
        See :func:`slicing.backend.configure_threads`.
    cache_dir : Path, optional
        See :class:`Network`.

    Returns
    -------
    Network

    Raises
    ------
    InputError
        See :func:`application` and
        :func:`~slicing.backbones.efficientnet_lite.efficientnet_lite`.
    """
    if weights is not None:
        require_weights(name, weights)
    if found := _LITE.fullmatch(name):
        return efficientnet_lite(int(found[1]), image_size, threads, cache_dir)
    return application(name, image_size, weights, threads, cache_dir)


def require_weights(name: str, weights: str | Path) -> None:
    """Refuse weights that a network does not take, and what is no file of weights.

    Raises
    ------
    InputError
    """
    if _LITE.fullmatch(name):
        raise InputError(
            f"weights={weights} is not possible with {name}, whose weights are those of its "
            "package: leave it out.",
            "weights",
        )
    check_weights(Path(weights).expanduser())
