"""What becomes of a trial that does not come to its end."""

from types import SimpleNamespace

from experiments.study.trial import Trial
from slicing.memory import TooLargeError


def test_one_that_needs_too_much_memory_is_told_from_one_that_is_refused(tmp_path):
    def do():
        raise TooLargeError("The features take 9 GB, and max_gigabytes is 0.25: raise that.")

    trial = Trial((), tmp_path, None, {}, None, 0.25)
    found = trial(SimpleNamespace(do=do))
    assert found.status == "memory"
    assert "0.25 GB (limits.trial_gigabytes)" in found.reason
    assert "max_gigabytes is" not in found.reason
