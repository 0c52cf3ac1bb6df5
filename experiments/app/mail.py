"""Mails to people whose jobs have ended, with the report; the server is named in the environment.

``SMTP_HOST`` names it: without, no mail is sent. ``SMTP_PORT`` (587), ``SMTP_USER``,
``SMTP_PASSWORD`` and ``SMTP_FROM`` are the rest.
"""

import hashlib
import os
import re
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage

from experiments.app.job import Job, State
from experiments.statistics import Accuracy
from experiments.tables import percent
from slicing.errors import InputError

_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)*", re.ASCII)
_SECONDS = 30.0
# Over a connection that is not encrypted, no password is sent.
_ENCRYPTED_PORT = 465


def require_address(text: str) -> None:
    """Refuse what is no address.

    Raises
    ------
    InputError
    """
    if not _ADDRESS.fullmatch(text):
        raise InputError("notify is no address: write name@example.org.", "notify")


@dataclass(frozen=True)
class Mailer:
    """Sends mails through a server."""

    host: str
    port: int
    user: str
    password: str
    sender: str

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Mailer | None":
        """Read the environment; None where it names no server.

        Raises
        ------
        InputError
        """
        host = environment.get("SMTP_HOST", "")
        if not host:
            return None
        port = environment.get("SMTP_PORT", "587")
        if not port.isdecimal():
            raise InputError("SMTP_PORT is no number: correct it in the environment.")
        user = environment.get("SMTP_USER", "")
        sender = environment.get("SMTP_FROM", user)
        if not _ADDRESS.fullmatch(sender):
            raise InputError("SMTP_FROM is no address: set it in the environment.")
        return cls(host, int(port), user, environment.get("SMTP_PASSWORD", ""), sender)

    def send(self, job: Job) -> None:
        """Tell the person who asked for it that a job has ended.

        Raises
        ------
        OSError, smtplib.SMTPException
        """
        mail = message(job)
        mail["From"], mail["To"] = self.sender, job.notify
        encryption = ssl.create_default_context()
        if self.port == _ENCRYPTED_PORT:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=_SECONDS, context=encryption
            )
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=_SECONDS)
        with server:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=encryption)
                server.ehlo()
            elif self.user and self.port != _ENCRYPTED_PORT:
                raise smtplib.SMTPNotSupportedError(
                    "the server does not encrypt, and no password is sent so"
                )
            if self.user:
                server.login(self.user, self.password)
            server.send_message(mail)


def message(job: Job) -> EmailMessage:
    """Write the mail about a job that has ended: what it says is of the file that is delivered."""
    mail = EmailMessage()
    mail["Subject"] = f"{job.dataset_name}: the {job.kind} is {job.state}"
    lines = [f"The {job.kind} of {job.dataset_name} is {job.state}.", ""]
    if job.state != State.FINISHED:
        lines.append(job.reason)
    elif job.kind == "study":
        lines += _of_study(job)
    lines += ["", f"Job: {job.id}"]
    mail.set_content("\n".join(lines))
    if job.state == State.FINISHED and job.report is not None:
        mail.add_attachment(
            job.report.read_bytes(), "text", "html", filename=f"report-{job.id}.html"
        )
    return mail


def _of_study(job: Job) -> list[str]:
    figures, engine = job.summary(), job.engine
    if figures is None or engine is None:
        return []
    tested = figures["refit"] or figures["as_tried"]
    accuracy = Accuracy(tested["correct"], tested["total"])
    content = engine.read_bytes()
    return [
        f"The classifier names {percent(accuracy)} % of {accuracy.total:,} test images right "
        "(95 % interval in brackets); these chose nothing.",
        f"It tells {len(figures['classes'])} classes apart: {', '.join(figures['classes'])}.",
        f"Its file, {engine.name}, has {len(content):,} bytes, "
        f"SHA-256 {hashlib.sha256(content).hexdigest()}.",
    ]
