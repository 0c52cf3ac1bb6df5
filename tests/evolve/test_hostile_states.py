"""States that anyone may have written: one sentence at most, and nothing is executed."""

import itertools
import json
import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evolve.checkpoint import Checkpoint
from evolve.optimizers import CMAES
from evolve.schedule import Parallel, Serial
from slicing.errors import InputError
from tests.evolve.test_checkpoint import make, outcome

NAMES = ("schedule", "block-3")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
ARRAYS = st.builds(
    lambda dtype, shape, fill: np.full(shape, fill).astype(dtype),
    st.sampled_from([np.float64, np.float32, np.int64, np.bool_]),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from([0.0, 1.0, -1.0, 1e9, float("nan")]),
)


class Executes:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The checkpoint of a schedule in its fourth block."""
    folder = tmp_path_factory.mktemp("kept")
    for _ in itertools.islice(make(Serial, CMAES, folder), 14):
        pass
    assert {path.stem for path in folder.glob("*.state")} == set(NAMES)
    return folder


def some_events(folder):
    """Resume from a copy; either it goes on, or there is one sentence."""
    try:
        return list(itertools.islice(make(Serial, CMAES, folder), 3))
    except InputError as error:
        return "\n" not in str(error)


@pytest.fixture
def copied(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "copy")
    for path in (tmp_path / "copy").glob("*.previous"):
        path.unlink()
    return tmp_path / "copy"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_odd_content_is_one_sentence(data, kept, tmp_path_factory):
    """With a checksum that is right: only the content is wrong."""
    folder = tmp_path_factory.mktemp("odd")
    checkpoint = Checkpoint(folder)
    target = data.draw(st.sampled_from(NAMES))
    for name in NAMES:
        state = Checkpoint(kept).load(name)
        values = dict(state.settings), dict(state.arrays)
        if name == target:
            part, other = data.draw(st.sampled_from([(values[0], JSON), (values[1], ARRAYS)]))
            key = data.draw(st.sampled_from(sorted(part)))
            if isinstance(part[key], dict) and data.draw(st.booleans()):
                part, part[key] = part[key], dict(part[key])
                key = data.draw(st.sampled_from(sorted(part)))
            part[key] = data.draw(other)
            if data.draw(st.booleans()):
                del part[key]
        values[0].pop("version", None)
        checkpoint.save(name, *values)
    assert some_events(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("magic", [b"", b"knn-slicing state 1\n\0\0\0\0"])
def test_a_pickle_is_not_read(name, magic, copied, tmp_path):
    traces = tmp_path / "executed"
    (copied / f"{name}.state").write_bytes(magic + pickle.dumps(Executes(traces)))
    assert some_events(copied)
    assert not traces.exists()


def test_arrays_of_objects_and_endless_nesting_are_damage(copied, caplog):
    path = copied / "block-3.state"
    text = path.read_bytes()
    for deep in ("[" * 100_000, '{"a":' * 50_000):
        header = json.dumps({"__metadata__": {"knn-slicing state": f"00000000 {deep}"}}).encode()
        for content in (header, deep.encode(), text.replace(b"F64", b"O64")):
            path.write_bytes(len(content).to_bytes(8, "little") + content)
            with caplog.at_level(logging.WARNING):
                assert some_events(copied)
            assert "block-3.state is damaged" in caplog.text
            caplog.clear()


def test_a_promise_of_gigabytes_takes_no_memory(copied):
    """In a process that has little more memory than it begins with."""
    header = json.dumps(
        {"losses": {"dtype": "F64", "shape": [1 << 40], "data_offsets": [0, 1 << 43]}}
    ).encode()
    for name in NAMES:
        (copied / f"{name}.state").write_bytes(len(header).to_bytes(8, "little") + header)
    script = """
        import resource, sys
        from evolve.checkpoint import Checkpoint
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20),) * 2)
        print([Checkpoint(sys.argv[1]).load(name) for name in sys.argv[2:]])
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(map(str.strip, script.splitlines())), copied, *NAMES],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[None, None]\n"


@pytest.mark.parametrize(("strategy", "options"), [(Serial, {}), (Parallel, {"synchronize": 3})])
def test_the_state_of_another_runs_block_does_not_count(strategy, options, tmp_path, caplog):
    """Of the same schedule on other images, as where folders are mixed up."""
    whole = make(strategy, CMAES, **options)
    list(whole)
    for folder, more in (("mine", {}), ("other", {"discriminants": True})):
        for _ in itertools.islice(make(strategy, CMAES, tmp_path / folder, **options, **more), 2):
            pass
    shutil.copy(tmp_path / "other" / "block-0.state", tmp_path / "mine" / "block-0.state")
    with caplog.at_level(logging.WARNING):
        resumed = make(strategy, CMAES, tmp_path / "mine", **options)
        list(resumed)
    assert "does not count, so the block begins again. It is that of another run." in caplog.text
    assert outcome(resumed) == outcome(whole)


def test_losses_of_other_candidates_do_not_count(copied, caplog):
    """As where an optimizer's library has changed since."""
    whole = make(Serial, CMAES)
    list(whole)
    checkpoint = Checkpoint(copied)
    state = checkpoint.load("block-3")
    settings = state.settings | {"candidates": state.settings["candidates"] ^ 1}
    checkpoint.save("block-3", settings, state.arrays)
    with caplog.at_level(logging.WARNING):
        resumed = make(Serial, CMAES, copied)
        list(resumed)
    assert "does not count" in caplog.text
    assert "The losses are those of other candidates." in caplog.text
    assert outcome(resumed) == outcome(whole)


def test_a_resumed_schedule_knows_all_events(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "copy")
    whole = make(Serial, CMAES)
    events = list(whole)
    assert list(whole.events) == events
    resumed = make(Serial, CMAES, tmp_path / "copy")
    before = list(resumed.events)
    assert before == events[: len(before)] != []
    assert before + list(resumed) == events
    assert list(resumed.events) == events
