"""The options of the app."""

from dataclasses import dataclass, field


@dataclass
class App:
    """Serve the app: photos in, classifier out, in a browser and over HTTP."""

    port: int = 8080
    """Port to listen on."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own needs a secret of 16 letters or more in the
    environment variable APP_TOKEN, which people then give to come in."""
    hosts: list[str] = field(default_factory=list)
    """Names under which browsers may ask for it, such as [photos.example.org]; none: those of this
    machine, and any where APP_TOKEN is set."""
    folder: str = "outputs/app"
    """Where all is kept: data sets, jobs and their results."""
    roots: list[str] = field(default_factory=list)
    """Folders on this machine in which people may name a folder of images."""
    jobs: int = 1
    """Studies and systems at work at once; they share the cores. The others wait."""
    hours: float = 24.0
    """After so many, a job is stopped, and has what was found until then."""
    upload_gigabytes: float = 2.0
    """Bytes of an archive that is sent, at most, in GB."""
    gigabytes: float = 50.0
    """Bytes of the folder, in GB, above which jobs that have ended are deleted, the oldest first,
    until it is below; data sets and jobs at work never are. Where that does not suffice, nothing
    more is taken in."""
    study: list[str] = field(default_factory=list)
    """Words on the command line of every study: study=['executor=ray','tracking.uri=...']."""
