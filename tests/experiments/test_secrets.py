"""Passwords in addresses are neither printed nor written."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import mlflow_store
from experiments.console import Formatter, say
from experiments.mlflow_store import URI, given_address, hide_password
from experiments.resume import RunOrigin
from experiments.secrets import masked, masked_values
from slicing.errors import InputError
from tests.experiments.runs import forked, give_store, run_here

WORDS = st.text("abcXYZ019!$%^*()-_+=.,;~@:", min_size=1).filter(lambda word: "***" not in word)


@given(WORDS, st.sampled_from(["http", "https", "postgresql+psycopg2", "ray"]))
def test_a_password_is_masked_wherever_it_stands(password, scheme):
    address = f"{scheme}://me:{password}@host:5000/x?y=1"
    hidden = f"{scheme}://me:***@host:5000/x?y=1"
    assert masked(address) == masked(hidden) == hidden
    assert masked(f"No {address} there: 'http://host:5000/@'") == (
        f"No {hidden} there: 'http://host:5000/@'"
    )


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000",
        "sqlite:////tmp/a@b:c",
        "postgresql://me@host",
        "a: b@c",
        "C:\\x",
        "http://h/?k=1",
    ],
)
def test_nothing_else_is(text):
    assert masked(text) == text


def test_values_that_are_secret_by_their_names():
    assert masked("http://h/?access_token=abc&x=1") == "http://h/?access_token=***&x=1"
    assert masked("at https://ghp_abc@host/x") == "at https://***@host/x"
    assert masked_values({"a": ["http://u:p@h", 1], "b": {"c": None}}) == {
        "a": ["http://u:***@h", 1], "b": {"c": None},
    }  # fmt: skip


def test_the_console_and_the_log(capsys):
    say("at http://me:pass@host")
    record = logging.makeLogRecord({"msg": "at %s", "args": ("http://me:pass@host",)})
    assert capsys.readouterr().err.strip() == Formatter().format(record) == "at http://me:***@host"


def test_an_address_is_known_to_this_process_and_its_children_only(monkeypatch):
    for name in (URI, "KNN_SLICING_TRACKING_URI"):
        monkeypatch.setenv(name, "")
    assert given_address(None) is None
    assert hide_password(None) is None
    assert hide_password("http://host") == given_address("http://host") == "http://host"
    hidden = hide_password("http://me:pass@host")
    assert hidden == "http://me:***@host"
    assert given_address(hidden) == "http://me:pass@host"
    assert given_address(None) is None
    # Resumed by another process.
    monkeypatch.setenv("KNN_SLICING_TRACKING_URI", "")
    with pytest.raises(InputError, match=r"give tracking\.uri=\.\.\. with it again"):
        given_address(hidden)
    monkeypatch.setenv(URI, "http://you:pass@host")
    with pytest.raises(InputError, match="written down without its password"):
        given_address(hidden)
    monkeypatch.setenv(URI, "http://me:other@host")
    assert given_address(hidden) == given_address(None) == "http://me:other@host"


def test_no_file_of_a_run_has_it(tiny, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("KNN_SLICING_TRACKING_URI", "")
    give_store(tmp_path)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setattr(mlflow_store, "given_address", lambda uri: store)
    address = "tracking.uri=http://me:open-sesame@host"
    begun = []

    def kept(origin, checkpoint):
        save(origin, checkpoint)
        begun.append((checkpoint.folder / "run.state").read_bytes())

    save = RunOrigin.save
    monkeypatch.setattr(RunOrigin, "save", kept)
    result = run_here([*tiny, "strategy.generations=1", address], tmp_path)
    # Of a run that is called from Python, whose words nothing has changed before.
    assert b"tracking.uri=http://me:***@host" in begun[0]
    assert b"open-sesame" not in begun[0]
    assert result.run.data.params["tracking.uri"] == "http://me:***@host"
    assert "http://me:***@host" in (result.folder / "report.html").read_text()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"open-sesame" in path.read_bytes()]
    assert "sesame" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "words",
    [
        ["--cfg", "all"],
        ["--help"],
        ["baseline=random"],
        ["--multirun", "seed=0,1", "baseline=random"],
    ],
)
def test_hydra_does_not_know_it(words, digits, tmp_path):
    arguments = [
        "data=mnist",
        f"data.directory={digits}",
        "tracking.uri=http://me:sesame@127.0.0.1:1",
    ]
    found = forked([*arguments, *words], tmp_path)
    assert "sesame" not in found.out + found.err
    assert "http://me:***@127.0.0.1:1" in found.out + found.err
    assert "Traceback" not in found.err
    assert found.code == (2 if "baseline=random" in words else 0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
