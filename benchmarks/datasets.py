"""The datasets that benchmarks take by ``--data``."""

from collections.abc import Callable

from slicing.data import Dataset, Images, mnist, mnist5k
from slicing.errors import InputError

DATASETS: dict[str, Callable[..., Dataset[Images]]] = {"mnist": mnist, "mnist5k": mnist5k}


def dataset_of(data: str, **sizes: int) -> Dataset[Images]:
    """Open the dataset that the option ``--data`` names.

    Raises
    ------
    InputError
        Where it cannot be had; the sentence names the benchmarks' own way out.
    """
    try:
        return DATASETS[data](**sizes)
    except InputError as error:
        sentence = str(error).replace("mnist5k, which needs no download", "--data mnist5k")
        sentence = sentence.replace("set directory or ", "set ")
        raise InputError(sentence, error.option) from error
