"""Call things as the command line does, in sentences of the libraries below."""

# What a library's sentence names, and what the command line calls it.
_WORDS = {
    "SepCMAES": "optimizer=sep_cmaes",
    "VkDCMAES": "optimizer=vkd_cmaes",
    "smaller blocks": "smaller blocks (block=kernel)",
    "choose Parallel": "choose strategy=parallel",
    "SerialExecutor": "executor=serial",
    "executor=ProcessExecutor": "executor=processes",
    "executor=RayExecutor": "executor=ray",
    "RayExecutor needs": "executor=ray needs",
    "features as they are": "features as they are (slicing.projection=none fitness=neighbors)",
    "take mnist5k": "take data=mnist5k",
    "set directory": "set data.directory",
    "a smaller test_fraction or a larger train_size": (
        "a smaller data.test_fraction or a larger data.train_size"
    ),
    "or max_unreadable=": "or data.max_unreadable=",
    "or duplicate_radius=null": "or data.duplicate_radius=null",
    "set pixels=": "set baseline.pixels=",
    "set classes=": "set baseline.classes=",
    "cuts=": "slicing.cut=",
    "channels=3 keeps": "data.channels=3 keeps",
}


def worded(sentence: str) -> str:
    """Name what the command line calls otherwise as it does."""
    for name, word in _WORDS.items():
        if word not in sentence:
            sentence = sentence.replace(name, word)
    return sentence
