"""A disk that is full, wherever it is: one sentence that names the file, and nothing is lost."""

import subprocess

import pytest

from tests.experiments.runs import forked, give_store, runs_of


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def size(kilobytes, remount=""):
        command = ["mount", "-t", "tmpfs", "-o", f"{remount}size={kilobytes}k", "none", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a disk")

    size(100_000)
    yield folder, lambda kilobytes: size(kilobytes, "remount,")
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def used(folder):
    return sum(path.stat().st_blocks // 2 for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("what", "room", "named"),
    [
        ("run", 60, "disk/run/checkpoint/"),
        ("all", 200, "disk/outputs/"),
        ("store", 60, "mlflow.db"),
    ],
)
def test_a_full_disk_is_one_sentence_and_loses_nothing(what, room, named, disk, tiny, tmp_path):
    folder, resize = disk
    project = tmp_path if what == "run" else folder
    give_store(project)
    options = {"run": [f"hydra.run.dir={folder}/run"], "store": [f"hydra.run.dir={tmp_path}/run"]}
    resize(used(folder) + room)
    small = [*tiny, "strategy.passes=1", *options.get(what, [])]
    found = forked(small, project)
    assert found.code == 2, found.err
    assert "Traceback" not in found.err
    *_, last = found.err.splitlines()
    if what == "store":
        assert last.startswith("MLflow did not take everything (")
        assert "database or disk is full" in last
    else:
        path, said = last.split(" cannot be read or written: ")
        assert said.startswith("No space left on device. Nothing is lost: resume it by ")
        assert path.startswith(f"{tmp_path}/{named}")
    if what == "all":
        return
    resize(100_000)
    resumed = forked([last.rpartition(" ")[2]], project)
    assert resumed.code == 0, resumed.err
    [run] = runs_of(project)[1]
    assert run.info.status == "FINISHED"
