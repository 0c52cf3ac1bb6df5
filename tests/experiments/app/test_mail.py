"""Mails about jobs that have ended, by a real server on this machine."""

import hashlib
import json
import smtplib
import socket
from email import message_from_bytes

import pytest
from aiosmtpd.controller import Controller

from experiments.app.job import State
from experiments.app.mail import Mailer, require_address
from slicing.errors import InputError
from tests.experiments.app.conftest import until


class Inbox:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 OK"


@pytest.fixture
def inbox():
    inbox = Inbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        inbox.port = free.getsockname()[1]
    server = Controller(inbox, hostname="127.0.0.1", port=inbox.port)
    server.start()
    yield inbox
    server.stop()


def mailer(inbox, **more):
    environment = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(inbox.port)}
    return Mailer.of({**environment, "SMTP_FROM": "app@example.org", **more})


def test_the_mail_is_about_the_file_that_is_delivered(jobs, pets, inbox):
    job = jobs.start(jobs.create("study", pets.id, {}, notify="ann@example.org").id)
    job = until(State.FINISHED, jobs, job.id)
    (job.run / "engine.safetensors").write_bytes(b"a classifier")
    figures = {"refit": None, "as_tried": {"correct": 19, "total": 20}, "classes": ["cat", "dog"]}
    (job.run / "summary.json").write_text(json.dumps(figures))
    mailer(inbox).send(job)
    [(to, mail)] = inbox.mails
    assert to == ["ann@example.org"]
    assert mail["Subject"] == "my pets: the study is finished"
    text, report = mail.get_payload()
    said = text.get_payload(decode=True).decode()
    assert "95.00 (76.39-99.11) % of 20 test images" in said
    assert hashlib.sha256(b"a classifier").hexdigest() in said
    assert report.get_filename() == f"report-{job.id}.html"
    assert report.get_payload(decode=True).strip() == b"<p>found</p>"


def test_one_that_failed_says_why(jobs, pets, inbox):
    job = jobs.create("study", pets.id, {}, notify="ann@example.org")
    (job.folder / "log.txt").write_text("There is one class: give two.\n")
    job = jobs.cancel(job.id)
    mailer(inbox).send(job)
    [(_, mail)] = inbox.mails
    assert mail["Subject"].endswith("the study is cancelled")
    assert "There is one class: give two." in mail.get_payload()


def test_no_password_is_sent_in_the_clear(jobs, pets, inbox):
    job = jobs.create("study", pets.id, {}, notify="ann@example.org")
    with pytest.raises(smtplib.SMTPNotSupportedError, match="no password is sent"):
        mailer(inbox, SMTP_USER="app", SMTP_PASSWORD="secret").send(job)
    assert inbox.mails == []


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"SMTP_PORT": "many"}, "SMTP_PORT is no number"),
        ({"SMTP_FROM": "app@example.org\nBcc: all@example.org"}, "SMTP_FROM is no address"),
        ({"SMTP_FROM": ""}, "SMTP_FROM is no address"),
    ],
)
def test_a_mistake_in_the_environment_is_said(environment, sentence):
    assert Mailer.of({}) is None
    with pytest.raises(InputError, match=sentence):
        Mailer.of({"SMTP_HOST": "mail.example.org", "SMTP_FROM": "a@example.org", **environment})


@pytest.mark.parametrize("text", ["ann", "ann@", "@example.org", "a@b\nBcc: c@d", "a b@c.org"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InputError, match="notify is no address"):
        require_address(text)
