"""Serve the app: ``python -m experiments.app --help``.

It ends with Ctrl-C; jobs go on, and the next server finds them.
"""

from pathlib import Path

from experiments.console import say
from experiments.schema.app import App
from experiments.tools import run_tool
from slicing.errors import InputError, installing
from slicing.files import make_folder


def main(options: App) -> None:
    """Serve until a signal comes."""
    # Here, not above: --help and a mistake on the command line need none of it.
    from filelock import FileLock, Timeout

    try:
        import uvicorn

        from experiments.app.server import app_of, service_of
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: {installing('app')}") from error
    folder = Path(options.folder).expanduser()
    make_folder(folder)
    try:
        with FileLock(folder / "server.lock", timeout=0):
            app = app_of(options, service_of(options))
            say(f"The app: http://{options.host}:{options.port} (Ctrl-C ends it; jobs go on)")
            uvicorn.run(
                app, host=options.host, port=options.port, log_level="warning",
                server_header=False, timeout_graceful_shutdown=3,
            )  # fmt: skip
    except Timeout as error:
        raise InputError(
            f"folder={options.folder} belongs to another app that is running: end that, or give "
            "another folder.",
            "folder",
        ) from error


if __name__ == "__main__":
    run_tool("experiments.app", App, main)
