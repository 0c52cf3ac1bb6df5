import pickle
import zipfile

import pytest

from slicing import checks
from slicing.errors import InputError


@pytest.mark.parametrize(
    ("check", "good", "bad", "sentence"),
    [
        (checks.at_least, (1, 1), (0, 1), "x=0 is out of range: choose 1 or more."),
        (checks.at_least, (None, 1), (float("nan"), 1), "x=nan is out of range: choose 1 or more."),
        (checks.whole, (1,), (1.0,), "x=1.0 is not a whole number."),
        (checks.whole, (0,), (True,), "x=True is not a whole number."),
        (checks.at_least, (2.5, 1), (float("inf"), 1), "x=inf is out of range: choose 1 or more."),
        (checks.between, (2, 1, 2), (3, 1, 2), "x=3 is out of range: choose 1 to 2."),
        (
            checks.between,
            (0, 0, 2),
            (-1, 0, 2, "pixels"),
            "x=-1 is out of range: choose 0 to 2 pixels.",
        ),
        (
            checks.positive,
            (0.1,),
            (float("inf"),),
            "x=inf is out of range: choose a finite number above 0.",
        ),
        (checks.positive, (None,), (0,), "x=0 is out of range: choose a finite number above 0."),
        (
            checks.one_of,
            ("lda", ("lda", "pca")),
            ("lad", ("lda", "none")),
            "x=lad is unknown: did you mean lda?",
        ),
        (
            checks.one_of,
            ("a", ("a", "b")),
            ("zzz", ("a", "b")),
            "x=zzz is unknown: choose one of a, b.",
        ),
    ],
)
def test_each_check_passes_what_it_should_and_names_the_option(check, good, bad, sentence):
    check("x", *good)
    with pytest.raises(InputError) as caught:
        check("x", *bad)
    assert (str(caught.value), caught.value.option) == (sentence, "x")


def test_an_option_keeps_its_name_through_a_pipe_and_gets_that_of_its_group():
    error = pickle.loads(pickle.dumps(InputError("k=0 is out of range.", "k"))).within("slicing")
    assert (str(error), error.option) == ("slicing.k=0 is out of range.", "slicing.k")
    other = InputError("There are no images.", "directory").within("data")
    assert (str(other), other.option) == ("There are no images.", "data.directory")
    longer = InputError("kernels are odd.", "k").within("slicing")
    assert (str(longer), longer.option) == ("kernels are odd.", "slicing.k")
    plain = InputError("There are no images.")
    assert plain.within("data") is plain


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}" * 1000)
    checks.archive("path", path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights", bytes(2**27))
    with pytest.raises(InputError) as error:
        checks.archive("path", path)
    assert str(error.value).startswith(f"path={path} unpacks to 0.1 GB, far more than its size: ")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="is no whole zip archive"):
        checks.archive("path", path)
    with pytest.raises(InputError, match=r"cannot be read: it is a folder\."):
        checks.archive("path", tmp_path)
