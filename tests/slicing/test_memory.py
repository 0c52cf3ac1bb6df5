import zipfile

import numpy as np
import pytest

from evolve.checkpoint import Checkpoint
from slicing import Engine, memory, tensor_file
from slicing.baselines import SavedCNN
from slicing.errors import InputError


def test_the_memory_of_a_control_group_is_all_there_is(monkeypatch):
    free, whole = memory.available()
    assert 0 < free <= whole
    limits = [(whole // 2, whole // 4), (whole // 8, 1000)]
    monkeypatch.setattr(memory, "_limits", lambda: limits)
    assert memory.available() == (min(free, whole // 8 - 1000), whole // 8)


def test_what_a_process_has_grows_with_what_it_holds():
    before = memory.resident()
    held = np.ones(25_000_000, np.float32)
    assert held.nbytes * 0.9 < memory.resident() - before < held.nbytes * 1.5


def test_what_needs_more_than_there_is_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: (10**9, 2 * 10**9))
    assert memory.demand(10**9, "x takes", "y") == (
        "at least 1.0 GB of memory, 1.0 GB of 2.0 GB are free"
    )
    with pytest.raises(
        InputError, match=r"^x=1 takes at least 3\.0 GB .* are 2\.0 GB: y\."
    ) as refused:
        memory.demand(3 * 10**9, "x=1 takes", "y", "x")
    assert refused.value.option == "x"


@pytest.fixture
def bounded():
    yield memory.set_bound
    memory.set_bound(None)


def test_a_bound_is_the_memory_there_is(bounded):
    bounded(0.001)
    free, whole = memory.available()
    assert free <= whole == 10**6
    memory.demand(10**6, "x takes", "y")
    with pytest.raises(InputError, match=r"^x takes .* max_gigabytes is 0\.001: y, or raise that"):
        memory.demand(10**6 + 1, "x takes", "y")
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(InputError, match=r"^max_gigabytes=.* is out of range"):
            bounded(wrong)


def test_what_is_too_large_is_not_read_and_not_taken_for_damaged(bounded, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    for number in (1.0, 2.0):
        checkpoint.save("state", {}, {"numbers": np.full(1000, number)})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    bounded(1e-5)
    with pytest.raises(InputError, match=r"state\.state takes at least .* max_gigabytes is 1e-05"):
        checkpoint.load("state")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    bounded(1e-3)
    assert checkpoint.load("state").arrays["numbers"][0] == 2.0


def test_an_engine_and_a_model_are_within_the_bound(bounded, tmp_path):
    path = tmp_path / "engine"
    path.write_bytes(tensor_file.pack("knn-slicing engine 1", {}, {"a": np.zeros(1000)}))
    model = tmp_path / "model.keras"
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("config.json", "{}" * 5000)
    bounded(1e-5)
    with pytest.raises(InputError, match="engine takes at least"):
        Engine.load(path)
    # Levels become float32: 6 kB and their file.
    path.write_bytes(tensor_file.pack("knn-slicing engine 1", {}, {"a": np.zeros(1500, np.int8)}))
    bounded(7e-6)
    with pytest.raises(InputError, match="engine takes at least"):
        Engine.load(path)
    bounded(1e-5)
    with pytest.raises(InputError, match="engine holds no engine"):
        Engine.load(path)
    with pytest.raises(InputError, match=r"^path=.*model\.keras takes at least"):
        SavedCNN(path=model).shape((9, 9, 1), 2)
