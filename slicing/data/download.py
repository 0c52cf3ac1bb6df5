"""Files from the web, whole and verified or not at all."""

import socket
import tempfile
from pathlib import Path

from slicing.backend import load_keras
from slicing.errors import InputError


def download(
    name: str, base_url: str, md5: str, folder: Path, way_out: str, timeout: float = 60
) -> Path:
    """Download one file into a folder, with a progress bar.

    The file takes its name only once it is complete and verified, so neither an interruption (a
    kill included) nor another process that downloads the same file leaves a broken one.

    Parameters
    ----------
    name : str
        Name of the file.
    base_url : str
        What comes before the name in its URL.
    md5 : str
        MD5 of the file, in hexadecimal.
    folder : Path
        Where to put it; made if need be.
    way_out : str
        What to do where it fails, for the message.
    timeout : float
        Seconds to wait for a silent server.

    Returns
    -------
    Path
        ``folder / name``.

    Raises
    ------
    InputError
        If the file cannot be had or its checksum differs.
    """
    keras = load_keras()

    url = base_url + name
    patience = socket.getdefaulttimeout()
    # Keras would wait for ever for a server that has fallen silent, and takes no timeout.
    socket.setdefaulttimeout(timeout)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            keras.utils.get_file(
                name, url, file_hash=md5, hash_algorithm="md5", cache_dir=scratch, cache_subdir=""
            )
            return (Path(scratch) / name).replace(folder / name)
    except Exception as error:  # Keras raises a bare Exception where the network fails
        reason = str(error).removeprefix(f"URL fetch failure on {url}: ").rstrip(".")
        raise InputError(
            f"{url} could not be downloaded to {folder} ({reason}): {way_out}."
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
