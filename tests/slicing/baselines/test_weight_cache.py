import os

import numpy as np

from slicing.baselines import weight_cache
from slicing.baselines.base import Epoch
from slicing.baselines.weight_cache import Trained, cache_file, read_trained, write_trained

EPOCHS = (Epoch(2.0 / 3.0, 0.5), Epoch(0.25, 1.0))


def test_a_training_comes_back_bit_for_bit_and_in_their_order(tmp_path):
    rng = np.random.default_rng(0)
    weights = [rng.random((2, n), dtype=np.float32) for n in range(1, 13)]
    path = cache_file(tmp_path / "new" / "folder", {"seed": 1})
    write_trained(path, Trained(weights, 1.0 / 3.0, EPOCHS))
    found = read_trained(path, [array.shape for array in weights])
    assert (found.seconds, found.epochs) == (1.0 / 3.0, EPOCHS)
    for one, two in zip(found.weights, weights, strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


def test_what_was_not_used_for_the_longest_time_makes_room(tmp_path, monkeypatch):
    weights = [np.zeros(1000, np.float32)]
    paths = [cache_file(tmp_path, {"seed": seed}) for seed in range(5)]
    stranger = tmp_path / "notes.txt"
    stranger.write_text("x" * 100_000)
    for number, path in enumerate(paths[:4]):
        write_trained(path, Trained(weights, 1.0, ()))
        os.utime(path, (number, number))
    # The oldest is used, so that the second has not been used for the longest time.
    assert read_trained(paths[0], [(1000,)]) is not None
    monkeypatch.setattr(weight_cache, "LIMIT", 3 * paths[0].stat().st_size)
    write_trained(paths[4], Trained(weights, 1.0, ()))
    assert {path for path in paths if path.exists()} == {paths[0], paths[3], paths[4]}
    assert stranger.exists()


def test_weights_beyond_the_limit_are_kept_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_cache, "LIMIT", 1)
    paths = [cache_file(tmp_path, {"seed": seed}) for seed in range(2)]
    for path in paths:
        write_trained(path, Trained([np.zeros(3)], 1.0, ()))
    assert [path.exists() for path in paths] == [False, True]
