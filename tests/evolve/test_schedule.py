import pickle

import numpy as np
import pytest

from evolve.events import BlockEnd, Generation
from evolve.executors import SerialExecutor
from evolve.fitness.knn import KNNFitness
from evolve.optimizers import CMAES, RandomSearch
from evolve.protocols import Split
from evolve.schedule import Parallel, Serial
from evolve.schedule_options import ScheduleOptions
from slicing.data import Images
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool
from tests.evolve.blocks import make_blocks


@pytest.fixture
def fitness():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    # Three noisy patterns: there is something to learn.
    patterns = rng.random((3, 8, 8, 1))
    images = (patterns[labels] + rng.normal(size=(90, 8, 8, 1))).clip(0, 1)
    weights = rng.normal(size=(3, 3, 1, 4)).astype(np.float32)
    stack = ConvStack((Conv(weights, np.zeros(4, np.float32)), Pool()), (8, 8, 1))
    return KNNFitness(stack, Split(Images(images.astype(np.float32), labels), None), neighbors=10)


def serial(fitness, make_optimizer=CMAES, kind="kernel", seed=0, **options):
    options = ScheduleOptions(**{"generations": 3, **options})
    return Serial(fitness, make_blocks(fitness.stack, kind), make_optimizer, options, seed=seed)


def parallel(fitness, make_optimizer=CMAES, synchronize=None, **options):
    options = ScheduleOptions(**{"generations": 3, **options})
    blocks = make_blocks(fitness.stack, "kernel")
    return Parallel(fitness, blocks, make_optimizer, options, synchronize=synchronize)


def test_events_account_for_every_evaluation(fitness):
    schedule = serial(fitness, passes=2)
    events = list(schedule)
    generations = [event for event in events if isinstance(event, Generation)]
    ends = [event for event in events if isinstance(event, BlockEnd)]
    assert [end.block_number for end in ends] == list(range(8))
    assert all(event.n_blocks == 8 for event in events)
    assert len(generations) == 8 * 3
    # 10 dimensions: populations of 10; and every block checks once what it hands over.
    assert schedule.evaluations == 8 * (3 * 10 + 1) == events[-1].evaluations


@pytest.mark.parametrize("hand_over", ["mean", "best"])
@pytest.mark.parametrize("kind", ["kernel", "layer"])
def test_the_loss_only_ever_falls(fitness, hand_over, kind):
    start = fitness.loss
    ends = [e for e in serial(fitness, kind=kind, hand_over=hand_over) if isinstance(e, BlockEnd)]
    assert ends[0].loss_before == start
    for end, following in zip(ends, [*ends[1:], None], strict=True):
        assert end.accepted == (end.loss_after < end.loss_before)
        assert end.accepted or end.loss_after == end.loss_before
        assert following is None or following.loss_before == end.loss_after
    assert ends[-1].loss_after == fitness.loss < start


def test_the_same_seed_gives_the_same_network(fitness):
    def kernels(seed):
        run = serial(copy_of(fitness), seed=seed)
        list(run)
        return run.fitness.stack.convs[0].weights

    np.testing.assert_array_equal(kernels(1), kernels(1))
    assert (kernels(1) != kernels(2)).any()


def copy_of(fitness):
    return pickle.loads(pickle.dumps(fitness))


def test_order(fitness):
    def order(**kwargs):
        events = serial(fitness, RandomSearch, generations=1, passes=2, **kwargs)
        return [event.block.name for event in events if isinstance(event, BlockEnd)]

    names = [f"conv1[{i}]" for i in range(4)]
    assert order(order="layer") == names * 2
    shuffled = order(order="random", seed=1)
    assert sorted(shuffled[:4]) == sorted(shuffled[4:]) == names
    assert shuffled != names * 2


def test_a_budget_of_evaluations_is_kept(fitness):
    schedule = serial(fitness, max_evaluations=35)
    events = list(schedule)
    # 3 generations of 10 and a hand-over; the fourth would pass 35.
    assert schedule.evaluations == 31
    assert events[-1].reasons == ("generations",)
    assert schedule.ended == "max_evaluations"


def test_a_budget_includes_the_check_of_what_is_handed_over(fitness):
    schedule = serial(fitness, max_evaluations=30)
    list(schedule)
    assert schedule.evaluations == 21


def test_a_budget_below_one_generation_is_refused(fitness):
    with pytest.raises(InputError, match="choose 11 or more"):
        list(serial(fitness, max_evaluations=10))


def test_a_budget_of_time_is_kept(fitness):
    events = list(serial(fitness, max_seconds=1e-9))
    assert [type(event) for event in events] == [Generation, BlockEnd]
    assert events[-1].reasons == ("max_seconds",)


def test_stop_hands_over_what_the_block_found(fitness):
    schedule = serial(fitness, generations=50, hand_over="best")
    start = fitness.loss
    for event in schedule:
        if isinstance(event, Generation) and event.generation == 5:
            schedule.stop("interrupted")
    assert event.reasons == ("interrupted",)
    assert event.evaluations == 51
    assert event.accepted
    assert fitness.loss < start


def test_the_optimizer_may_end_a_block(fitness):
    class Impatient(RandomSearch):
        def _stop(self):
            return {"bored": self.evaluations} if self.evaluations else {}

    ends = [e for e in serial(fitness, Impatient) if isinstance(e, BlockEnd)]
    assert [end.reasons for end in ends] == [("bored",)] * 4


def test_parallel_blocks_start_from_the_same_network(fitness, monkeypatch):
    seen = []
    bind = fitness.bind
    monkeypatch.setattr(
        fitness, "bind", lambda block: (seen.append((block, fitness.stack)), bind(block))
    )
    start = fitness.loss
    events = list(parallel(fitness, synchronize=2))
    ends = [event for event in events if isinstance(event, BlockEnd)]
    assert [end.block_number for end in ends] == [0, 1, 2, 3]
    searches = [stack for block, stack in seen if block in make_blocks(stack, "kernel")]
    assert searches[0] is searches[1]
    assert searches[2] is searches[3] is not searches[1]
    assert start == ends[0].loss_before == ends[1].loss_before
    assert ends[2].loss_before == ends[1].loss_after < start
    assert ends[3].loss_after == fitness.loss


@pytest.mark.parametrize("synchronize", [None, 3])
def test_parallel_changes_only_what_it_plugged_in(fitness, synchronize):
    before = fitness.stack
    ends = [e for e in parallel(fitness, synchronize=synchronize) if isinstance(e, BlockEnd)]
    for end in ends:
        changed = (end.block.read(before) != end.block.read(fitness.stack)).any()
        assert changed == end.accepted
    assert any(end.accepted for end in ends)


def test_groups_of_one_are_serial(fitness):
    other = copy_of(fitness)
    one_by_one, groups = serial(fitness, passes=2), parallel(other, passes=2, synchronize=1)
    for schedule in (one_by_one, groups):
        list(schedule)
    np.testing.assert_array_equal(fitness.stack.convs[0].weights, other.stack.convs[0].weights)


@pytest.mark.parametrize(("bearable", "plugged_in"), [(4, 4), (3, 2), (1, 1)])
def test_parallel_plugs_in_what_is_better_together(fitness, monkeypatch, bearable, plugged_in):
    # Every block improves alone, but more than ``bearable`` of them together do not.
    query_losses = fitness.query_losses

    def spoiled(candidates):
        losses = query_losses(candidates).clip(max=fitness.loss / 2)
        return losses + 100.0 * (len(fitness.block.kernels) > bearable)

    monkeypatch.setattr(fitness, "query_losses", spoiled)
    before = fitness.stack
    ends = [event for event in parallel(fitness) if isinstance(event, BlockEnd)]
    assert sum(end.accepted for end in ends) == plugged_in
    for end in ends:
        changed = (end.block.read(before) != end.block.read(fitness.stack)).any()
        assert changed == end.accepted


def test_parallel_keeps_its_budget(fitness):
    schedule = parallel(fitness, max_evaluations=60)
    events = list(schedule)
    assert 30 < schedule.evaluations <= 60
    assert events[-1].reasons == ("max_evaluations",)
    assert isinstance(events[-1], BlockEnd)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"generations": 0}, "generations=0"),
        ({"passes": -1}, "passes=-1"),
        ({"max_evaluations": 0}, "max_evaluations=0"),
        ({"step": 0.0}, "step=0.0"),
        ({"step": float("inf")}, "step=inf"),
        ({"max_seconds": -1.0}, "max_seconds=-1.0"),
        ({"order": "backwards"}, "backwards"),
        ({"patience_generations": 0}, "patience_generations=0"),
        ({"patience_blocks": 0}, "patience_blocks=0"),
        ({"hand_over": "median"}, "median"),
    ],
)
def test_bad_options(fitness, kwargs, words):
    for make in (serial, parallel):
        with pytest.raises(InputError, match=words):
            make(fitness, **kwargs)


def test_a_group_has_blocks(fitness):
    with pytest.raises(InputError, match="synchronize=0"):
        parallel(fitness, synchronize=0)
    with pytest.raises(InputError, match="synchronize=0") as raised:
        Parallel.check(SerialExecutor(), synchronize=0)
    assert raised.value.option == "synchronize"


def test_order_by_importance(fitness):
    losses = []
    for block in make_blocks(fitness.stack, "kernel"):
        start = block.read(fitness.stack)
        losses.append(fitness.loss_of(block.write(fitness.stack, np.zeros_like(start))))
    schedule = serial(fitness, order="importance", generations=1)
    ends = [event for event in schedule if isinstance(event, BlockEnd)]
    order = [end.block.kernels[0][1] for end in ends]
    assert order == sorted(range(4), key=lambda kernel: -losses[kernel])
    assert schedule.evaluations == 4 + 4 * 11


@pytest.mark.parametrize("max_evaluations", [3, 4, 10])
def test_ordering_is_part_of_the_budget(fitness, max_evaluations):
    with pytest.raises(InputError, match="does not suffice for one generation"):
        list(serial(fitness, order="importance", max_evaluations=max_evaluations))


def test_the_first_generation_always_runs(fitness):
    events = list(serial(fitness, order="importance", max_seconds=1e-9))
    assert [type(event) for event in events] == [Generation, BlockEnd]


def test_a_target_ends_block_and_run(fitness):
    target = fitness.loss * 0.98
    schedule = serial(fitness, hand_over="best", target_loss=target, generations=50)
    events = list(schedule)
    assert schedule.ended == "target_loss"
    assert fitness.loss <= target
    assert events[-1].reasons == ("target_loss",)
    assert len(events) < 50


def test_patience_with_a_block(fitness):
    class Stuck(RandomSearch):
        def _ask(self):
            return np.tile(self._x0, (self.population, 1))

    schedule = serial(fitness, Stuck, patience_generations=3, patience_blocks=2, generations=9)
    ends = [event for event in schedule if isinstance(event, BlockEnd)]
    assert {end.reasons for end in ends} == {("patience",)}
    # On some processors the loss of the same kernel is smaller by a last bit.
    assert [end.accepted for end in ends] == [True] * (len(ends) - 2) + [False] * 2
    # The first generation is a new best, the next three are not.
    assert schedule.evaluations == len(ends) * (4 * 10 + 1)
    assert schedule.ended == "patience_blocks"


def test_no_passes_leave_the_network_as_it_is(fitness):
    before = fitness.stack
    schedule = serial(fitness, passes=0)
    assert list(schedule) == []
    assert schedule.ended == "passes"
    assert fitness.stack is before
