"""Jobs of several tasks each, on an executor."""

from evolve.executors import Executor
from evolve.jobs import run


class Backwards(Executor):
    """Ends the task that was submitted last first."""

    def start(self, work, max_workers):
        self._work, self.n_slots, self._running, self.submitted = work, max_workers, [], []

    def submit(self, slot, task):
        assert slot not in dict(self._running)
        self.submitted.append(task)
        self._running.append((slot, task))

    def wait(self):
        slot, task = self._running.pop()
        return slot, self._work(task)

    def close(self):
        assert not self._running


class Countdown:
    """Has as many tasks as its number says; one more when it is told to end."""

    def __init__(self, name, number):
        self.name, self.left, self.results, self.reason = name, number, [], None

    @property
    def done(self):
        return self.left == 0

    def next_task(self):
        return self.name, self.left

    def receive(self, result):
        self.results.append(result)
        self.left -= 1

    def end(self, reason):
        if self.reason is None:
            self.reason, self.left = reason, min(self.left, 1)


def do(jobs, n_slots, stop=lambda: None):
    with Backwards() as executor:
        executor.start(lambda task: f"{task[0]}{task[1]}", n_slots)
        seen = [(job.name, job.results[-1]) for job in run(jobs, executor, stop)]
    return seen, executor.submitted


def test_every_job_gets_all_its_results_in_order():
    for n_slots in (1, 2, 5):
        jobs = [Countdown(name, number) for name, number in zip("abcd", (2, 1, 0, 3), strict=True)]
        seen, submitted = do(jobs, n_slots)
        assert [job.results for job in jobs] == [["a2", "a1"], ["b1"], [], ["d3", "d2", "d1"]]
        assert sorted(result for _, result in seen) == ["a1", "a2", "b1", "d1", "d2", "d3"]
        first = [name for name, _ in submitted][:n_slots]
        assert first[:3] == list("abd")[:n_slots]


def test_a_job_keeps_its_slot_and_the_next_starts_when_one_is_free():
    seen, _ = do([Countdown("a", 2), Countdown("b", 2), Countdown("c", 1)], 2)
    assert [result for _, result in seen] == ["b2", "b1", "c1", "a2", "a1"]


def test_a_reason_to_stop_ends_all_jobs():
    jobs = [Countdown("a", 5), Countdown("b", 5), Countdown("c", 5)]
    do(jobs, 2, lambda: "enough" if len(jobs[1].results) >= 2 else None)
    assert [job.reason for job in jobs] == ["enough"] * 3
    # One last task each, after those that were under way.
    assert [job.results for job in jobs] == [["a5", "a1"], ["b5", "b4", "b1"], ["c1"]]
