"""Download files, whole and verified or not at all."""

import logging
import tempfile
from pathlib import Path

from slicing.errors import InputError
from slicing.files import clear_stale, make_folder

_SCRATCH = ".download-"


def download(
    name: str, base_url: str, md5: str, folder: Path, way_out: str, timeout: float = 60
) -> Path:
    """Download one file into a folder, with a progress bar.

    The file gets its name when it is complete and verified. So neither an interruption, not even a
    kill, nor another process that downloads the same file leaves a broken one.

    Parameters
    ----------
    name : str
        Name of the file.
    base_url : str
        What comes before the name in its URL.
    md5 : str
        MD5 of the file, in hexadecimal.
    folder : Path
        Where to put it; created if it does not exist.
    way_out : str
        What to do if it fails, for the message.
    timeout : float
        Seconds to wait for a silent server.

    Returns
    -------
    Path
        ``folder / name``.

    Raises
    ------
    InputError
        If the file cannot be downloaded or its checksum differs.
    """
    # Here, not above: most files are at hand.
    import pooch

    # It would name the URL and the folder at every download.
    pooch.get_logger().setLevel(logging.WARNING)
    url = base_url + name
    try:
        make_folder(folder)
        clear_stale(folder, f"{_SCRATCH}*")
        with tempfile.TemporaryDirectory(dir=folder, prefix=_SCRATCH) as scratch:
            part = pooch.retrieve(
                url,
                f"md5:{md5}",
                fname=name,
                path=scratch,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=timeout),
            )
            return Path(part).replace(folder / name)
    except (OSError, ValueError) as error:  # those of requests are OSErrors
        raise InputError(
            f"{url} could not be downloaded to {folder} ({_reason(error)}): {way_out}."
        ) from error


def _reason(error: BaseException) -> str:
    """Describe the first error of the chain that ends with this one."""
    while before := error.__cause__ or error.__context__:
        error = before
    reason = isinstance(error, OSError) and error.strerror
    return (reason or str(error).partition(" for url")[0]).rstrip(".")
