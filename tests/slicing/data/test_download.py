import dataclasses
import hashlib
import http.server
import signal
import subprocess
import sys
import threading

import pytest

from slicing.data import mnist, mnist_family
from slicing.data.download import download
from slicing.errors import InputError
from tests.idx_files import write_mnist

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()
WAY_OUT = "set MNIST_DIR"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; what is asked for under /cut or /stall ends, or stops, half-way."""

    def do_GET(self):
        fault = self.path.split("/")[1]
        if fault not in ("cut", "stall"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])
        self.wfile.flush()
        if fault == "stall":
            self.server.resume.wait(30)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.gz").write_bytes(CONTENT)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Handler(*args, directory=folder)
    ) as running:
        running.resume = threading.Event()
        running.folder = folder
        running.url = f"http://127.0.0.1:{running.server_port}/"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.resume.set()
        running.shutdown()


def test_a_good_download(tmp_path, server, capsys):
    cache = tmp_path / "a" / "cache"
    path = download("file.gz", server.url, MD5, cache, WAY_OUT)
    assert path == cache / "file.gz"
    assert path.read_bytes() == CONTENT
    assert list(cache.iterdir()) == [path]
    assert "100%|" in capsys.readouterr().err  # the progress bar


@pytest.mark.parametrize(
    ("under", "md5", "reason"),
    [
        ("", "0" * 32, "MD5 hash of downloaded file (file.gz) does not match"),
        ("cut/", MD5, "512000 more expected"),
        ("stall/", MD5, "timed out"),
        ("nowhere/", MD5, "404 Client Error: File not found)"),
    ],
)
def test_a_failed_download_leaves_nothing(tmp_path, server, under, md5, reason):
    cache = tmp_path / "cache"
    with pytest.raises(InputError) as error:
        download("file.gz", server.url + under, md5, cache, WAY_OUT, timeout=0.5)
    message = str(error.value)
    assert message.startswith(f"{server.url}{under}file.gz could not be downloaded to {cache} (")
    assert reason in message
    assert message.endswith("): set MNIST_DIR.")
    assert list(cache.iterdir()) == []


def test_no_server(tmp_path, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=r"refused.*set MNIST_DIR"):
        download("file.gz", server.url, MD5, tmp_path / "cache", WAY_OUT)


def test_a_killed_download_leaves_no_file_under_the_final_name(tmp_path, server):
    cache = tmp_path / "cache"
    program = (
        "import sys; from pathlib import Path; from slicing.data.download import download;"
        "download('file.gz', sys.argv[1], '0' * 32, Path(sys.argv[2]), '')"
    )
    command = [sys.executable, "-c", program, f"{server.url}stall/", str(cache)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if partial := [p for p in cache.rglob("*") if p.is_file() and p.stat().st_size]:
                break
            assert process.poll() is None
            threading.Event().wait(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(partial) == 1  # it was under way
    assert not (cache / "file.gz").exists()
    assert download("file.gz", server.url, MD5, cache, WAY_OUT).read_bytes() == CONTENT


def test_mnist_downloads_only_what_the_cache_lacks(tmp_path, server, monkeypatch):
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_mnist(server.folder)
    checksums = {
        file: hashlib.md5((server.folder / f"{file}.gz").read_bytes()).hexdigest()
        for file in mnist_family._MNIST.md5
    }
    local = dataclasses.replace(mnist_family._MNIST, url=server.url, md5=checksums)
    monkeypatch.setattr(mnist_family, "_MNIST", local)
    cache = tmp_path / "knn-slicing" / "mnist"
    first = mnist(train_size=60, test_size=30)
    assert {path.name for path in cache.iterdir()} == {f"{file}.gz" for file in checksums}

    (cache / "t10k-images-idx3-ubyte.gz").unlink()
    (server.folder / "train-images-idx3-ubyte.gz").unlink()
    again = mnist(train_size=60, test_size=30)
    assert again.train.digest == first.train.digest
    assert again.read_test().digest == first.read_test().digest
    server.shutdown()
    server.server_close()
    assert mnist(train_size=60, test_size=30).train.digest == first.train.digest


def test_a_download_starts_no_tensorflow(tmp_path, server):
    program = (
        "import sys; from pathlib import Path; from slicing.data.download import download;"
        "download('file.gz', sys.argv[1], sys.argv[2], Path(sys.argv[3]), '');"
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program, server.url, MD5, str(tmp_path / "cache")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
