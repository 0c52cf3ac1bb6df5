"""Folders that a refused command made."""

import pytest

from experiments.folders import remove_if_only


@pytest.fixture
def here(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize(
    ("name", "beside", "left"),
    [
        ("outputs/day/time", None, []),
        ("outputs/day/time", "outputs/other", ["outputs"]),
        ("outputs/day/time", "outputs/day/time/kernels.npz", ["outputs"]),
        ("../elsewhere/time", None, []),
        (".", None, ["run.log"]),
        ("..", None, []),
    ],
)
def test_only_what_nobody_will_miss(name, beside, left, here):
    folder = here / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.log").write_text("refused")
    if beside:
        (here / beside).write_text("mine")
    remove_if_only(folder, {"run.log", "here"})
    assert [path.name for path in here.iterdir()] == left
    assert here.parent.joinpath("elsewhere").exists() == name.startswith("../")
    if beside:
        assert (here / beside).read_text() == "mine"
