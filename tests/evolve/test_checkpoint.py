"""Whatever interrupts a schedule: from its checkpoint it ends as if nothing had happened."""

import logging
import pickle
from dataclasses import replace

import numpy as np
import pytest

from evolve.checkpoint import Checkpoint
from evolve.events import BlockEnd
from evolve.fitness.discriminant import DiscriminantFitness
from evolve.fitness.knn import KNNFitness
from evolve.optimizers import BY_NAME, CMAES, PSO
from evolve.protocols import Split
from evolve.schedule import Parallel, Serial
from evolve.schedule_options import ScheduleOptions
from slicing.data import Images
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool
from tests.evolve.blocks import make_blocks

OF_SCHEDULE = ("seed", "executor", "synchronize")
STRATEGIES = [(Serial, {}), (Parallel, {"synchronize": 2})]


def make_fitness(discriminants=False):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    patterns = rng.random((3, 8, 8, 1))
    images = (patterns[labels] + rng.normal(size=(60, 8, 8, 1))).clip(0, 1).astype(np.float32)
    layers = []
    for n_in, n_out in ((1, 2), (2, 3)):
        weights = rng.normal(size=(3, 3, n_in, n_out)).astype(np.float32)
        layers += [Conv(weights, np.zeros(n_out, np.float32))]
    stack = ConvStack((*layers, Pool()), (8, 8, 1))
    split = Split(Images(images, labels), None)
    if discriminants:
        return DiscriminantFitness(stack, split, max_references=50)
    return KNNFitness(stack, split, neighbors=10)


def make(
    strategy, make_optimizer, folder=None, kind="kernel", layers=None, discriminants=False,
    **options,
):  # fmt: skip
    fitness = make_fitness(discriminants=discriminants)
    blocks = make_blocks(fitness.stack, kind, layers)
    checkpoint = None if folder is None else Checkpoint(folder)
    own = {name: options.pop(name) for name in OF_SCHEDULE if name in options}
    options = ScheduleOptions(**{"generations": 3, "step": 0.5, **options})
    return strategy(fitness, blocks, make_optimizer, options, checkpoint=checkpoint, **own)


def outcome(schedule):
    """The kernels and the loss, to the last bit."""
    arrays = [array for conv in schedule.fitness.stack.convs for array in (conv.weights, conv.bias)]
    return [array.tobytes() for array in arrays], schedule.fitness.loss, schedule.evaluations


def run_in_pieces(make_schedule, lengths):
    """Abandon a run again and again after some events; return its last part, and all events."""
    events = {}
    for length in [*lengths, None]:
        schedule = make_schedule()
        first = schedule.blocks_done
        events = {key: event for key, event in events.items() if key[0] < first}
        for count, event in enumerate(schedule):
            kind = getattr(event, "generation", 0)
            events[event.block_number, kind or np.inf] = event
            if count == length:
                break
    return schedule, [events[key] for key in sorted(events)]


def in_order(events):
    keys = {
        (event.block_number, getattr(event, "generation", 0) or np.inf): event for event in events
    }
    return [keys[key] for key in sorted(keys)]


@pytest.mark.parametrize(("strategy", "options"), STRATEGIES)
@pytest.mark.parametrize("make_optimizer", BY_NAME.values())
def test_every_optimizer_goes_on_bit_for_bit(make_optimizer, strategy, options, tmp_path):
    whole = make(strategy, make_optimizer, **options)
    events = list(whole)
    pieces, pieced_events = run_in_pieces(
        lambda: make(strategy, make_optimizer, tmp_path, **options), [0, 3, 5, 8]
    )
    assert outcome(pieces) == outcome(whole)
    assert pieced_events == in_order(events)


@pytest.mark.parametrize(("strategy", "more"), STRATEGIES)
def test_discriminants_go_on_bit_for_bit(strategy, more, tmp_path):
    options = {"passes": 2, "hand_over": "best", "discriminants": True} | more
    whole = make(strategy, CMAES, **options)
    events = list(whole)
    pieces, pieced_events = run_in_pieces(
        lambda: make(strategy, CMAES, tmp_path, **options), [0, 3, 8]
    )
    assert outcome(pieces) == outcome(whole)
    assert pieced_events == in_order(events)


@pytest.mark.parametrize(
    "options",
    [
        {"passes": 2, "order": "importance"},
        {"passes": 2, "order": "layer", "max_evaluations": 200},
        {"hand_over": "best", "passes": 2},
        {"patience_generations": 1, "patience_blocks": 2, "passes": 2},
        {"kind": "group", "layers": [2]},
        {"kind": "network"},
    ],
)
@pytest.mark.parametrize(("strategy", "more"), STRATEGIES)
def test_every_option_goes_on_bit_for_bit(strategy, more, options, tmp_path):
    options = options | more
    whole = make(strategy, PSO, **options)
    list(whole)
    pieces, _ = run_in_pieces(lambda: make(strategy, PSO, tmp_path, **options), range(0, 12, 2))
    assert outcome(pieces) == outcome(whole)
    assert pieces.ended == whole.ended


def test_a_stop_is_not_part_of_the_checkpoint(tmp_path):
    whole = make(Serial, CMAES)
    list(whole)
    stopped = make(Serial, CMAES, tmp_path)
    for event in stopped:
        if event.evaluations > 50:
            stopped.stop("interrupted")
    assert stopped.ended == "interrupted"
    assert outcome(stopped) != outcome(whole)
    resumed = make(Serial, CMAES, tmp_path)
    list(resumed)
    assert resumed.ended == "passes"
    assert outcome(resumed) == outcome(whole)


def test_time_before_the_interruption_counts(tmp_path):
    first = make(Serial, CMAES, tmp_path, max_seconds=1000.0)
    next(iter(first))
    for path in tmp_path.glob("block-*.state"):
        checkpoint = Checkpoint(tmp_path)
        state = checkpoint.load(path.stem)
        checkpoint.save(path.stem, state.settings | {"seconds": 1e6}, state.arrays)
    second = make(Serial, CMAES, tmp_path, max_seconds=1000.0)
    events = list(second)
    assert second.ended == "max_seconds"
    assert second.seconds > 1e6
    assert [type(event) for event in events][-1] is BlockEnd
    assert len(events) == 2


def test_after_the_end_there_is_nothing_to_do(tmp_path):
    whole = make(Serial, CMAES, tmp_path)
    list(whole)
    again = make(Serial, CMAES, tmp_path)
    assert list(again) == []
    assert outcome(again) == outcome(whole)
    assert {path.name for path in tmp_path.iterdir()} == {"schedule.state", "schedule.previous"}


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_a_truncated_state_gives_way_to_the_one_before(cut, tmp_path, caplog):
    whole = make(Serial, CMAES)
    list(whole)
    run = iter(make(Serial, CMAES, tmp_path))
    for _ in range(7):
        next(run)
    damaged = [*tmp_path.glob("*.state")]
    assert len(damaged) == 2
    for path in damaged:
        path.write_bytes(path.read_bytes()[:cut])
    with caplog.at_level(logging.WARNING):
        resumed = make(Serial, CMAES, tmp_path)
        assert "schedule.state is damaged: resuming from the state before it" in caplog.text
        list(resumed)
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("n_events", [1, 2, 5])
def test_what_is_damaged_through_and_through_is_done_again(n_events, tmp_path, caplog):
    whole = make(Serial, CMAES)
    list(whole)
    run = iter(make(Serial, CMAES, tmp_path))
    for _ in range(n_events):
        next(run)
    for path in tmp_path.glob("block-*"):
        path.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        resumed = make(Serial, CMAES, tmp_path)
        list(resumed)
    assert "is damaged, and so is the state before it" in caplog.text
    assert outcome(resumed) == outcome(whole)


def test_a_damaged_state_does_not_push_the_whole_one_out(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save("a", {"value": 1})
    checkpoint.save("a", {"value": 2})
    (tmp_path / "a.state").write_bytes(b"knn")
    assert checkpoint.load("a").get("value", int) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.previous"}
    assert checkpoint.has("a")


def test_a_state_of_another_version_is_one_sentence(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("evolve.checkpoint._VERSION", 99)
        Checkpoint(tmp_path).save("a", {})
    with pytest.raises(InputError, match=r"a\.state was written by another version: resume it"):
        Checkpoint(tmp_path).load("a")


def test_clearing_leaves_what_is_not_a_state(tmp_path):
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    with checkpoint.locked():
        for name in ("a", "a", "b"):
            checkpoint.save(name, {})
        (tmp_path / "checkpoint" / "my.weights").write_text("of my own")
        checkpoint.clear("a")
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["my.weights"]
    (tmp_path / "checkpoint" / "my.weights").unlink()
    checkpoint.clear("a")
    assert not (tmp_path / "checkpoint").exists()
    checkpoint.clear("a")


def test_two_processes_do_not_work_on_the_same_run(tmp_path):
    second = Checkpoint(tmp_path).locked()
    with Checkpoint(tmp_path).locked(), pytest.raises(InputError, match="Another process is at"):
        second.__enter__()
    with Checkpoint(tmp_path).locked():
        pass


@pytest.mark.parametrize("options", [{}, {"patience_generations": 1}])
@pytest.mark.parametrize("max_evaluations", [26, 33, 42, 47, 55])
def test_after_a_budget_there_is_nothing_to_do(max_evaluations, options, tmp_path):
    options = {"layers": [1], "max_evaluations": max_evaluations, **options}
    whole = make(Parallel, CMAES, tmp_path, **options)
    list(whole)
    # The last block may come to its end with what is left.
    assert whole.ended in ("max_evaluations", "passes")
    assert whole.evaluations <= max_evaluations
    again = make(Parallel, CMAES, tmp_path, **options)
    assert list(again) == []
    assert outcome(again) == outcome(whole)


def test_a_full_disk_leaves_the_state_as_it_was(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save("a", {"when": "before"})

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save("a", {"when": "after"}, durable=True)
    assert checkpoint.load("a").get("when", str) == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.state"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"generations": 4}, "generations"),
        ({"kind": "layer"}, "blocks"),
        ({"order": "layer"}, "order"),
    ],
)
def test_the_state_of_another_run_is_refused(options, name, tmp_path):
    next(iter(make(Serial, CMAES, tmp_path)))
    with pytest.raises(InputError, match=f"another run, in which {name} differs"):
        make(Serial, CMAES, tmp_path, **options)


def test_the_state_of_another_network_or_strategy_is_refused(tmp_path):
    next(iter(make(Serial, CMAES, tmp_path)))
    with pytest.raises(InputError, match="in which strategy differs"):
        make(Parallel, CMAES, tmp_path)
    fitness = make_fitness()
    conv = fitness.stack.convs[1]
    fitness.adopt(fitness.stack.with_conv(1, replace(conv, bias=conv.bias + 1)), 1.0)
    blocks = make_blocks(fitness.stack)
    options = ScheduleOptions(generations=3, step=0.5)
    with pytest.raises(InputError, match="in which kernels differs"):
        Serial(fitness, blocks, CMAES, options, checkpoint=Checkpoint(tmp_path))


def test_a_fitness_travels_without_what_it_has_bound():
    fitness = make_fitness()
    block = make_blocks(fitness.stack)[-1]
    candidate = block.read(fitness.stack)[None] * 1.1
    fitness.bind(block)
    copy = pickle.loads(pickle.dumps(fitness))
    assert len(pickle.dumps(fitness)) < 2 * len(pickle.dumps(make_fitness()))
    with pytest.raises(RuntimeError, match="bind"):
        copy.losses(candidate)
    copy.bind(block)
    np.testing.assert_array_equal(copy.losses(candidate), fitness.losses(candidate))
