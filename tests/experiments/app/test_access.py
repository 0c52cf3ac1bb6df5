"""Who may come in, and from which page."""

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from experiments.app import access
from experiments.app.access import token_of
from slicing.errors import InputError
from tests.experiments.app.conftest import app_of

TOKEN = "sixteen letters!"


@pytest.fixture
def guarded(service):
    app = app_of(service, TOKEN)

    @app.websocket("/live")
    async def live(socket: WebSocket):
        await socket.accept()
        await socket.send_text("hello")

    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_this_machine_needs_no_secret_and_others_do():
    assert token_of("127.0.0.1", {}) == token_of("localhost", {}) == token_of("::1", {}) == ""
    assert token_of("0.0.0.0", {"APP_TOKEN": TOKEN}) == TOKEN
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        with pytest.raises(InputError, match=f"^host={host} lets others reach the app") as caught:
            token_of(host, {})
        assert caught.value.option == "host"
    with pytest.raises(InputError, match=r"^APP_TOKEN has fewer than 16 letters"):
        token_of("127.0.0.1", {"APP_TOKEN": "short"})


def test_without_the_token_nothing_is_said(guarded):
    assert guarded.get("/api/health").json() == {"status": "ok"}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "session=wrong"}):
        answer = guarded.get("/api/jobs", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["detail"].startswith("Who are you?")
    answer = guarded.get("/api/jobs", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/live"):
        pass


def test_a_web_socket_has_no_open_door(guarded):
    for path in ("/live", "/login", "/api/health"):
        with pytest.raises(WebSocketDisconnect), guarded.websocket_connect(path):
            pass


def test_programs_send_the_token(guarded):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/api/jobs", headers=headers).json() == []
    with guarded.websocket_connect("/live", headers=headers) as socket:
        assert socket.receive_text() == "hello"


def test_people_give_it_once(guarded):
    wrong = guarded.post("/login", data={"token": "sixteen letters?"})
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    right = guarded.post("/login", data={"token": TOKEN})
    assert (right.status_code, right.headers["location"]) == (303, "/")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/api/jobs").json() == []


def test_a_page_of_another_address_changes_nothing(client):
    body = {"dataset": "0" * 16}
    for origin in ("http://evil.example", "null", "http://testserver.evil.example"):
        answer = client.post("/api/jobs", json=body, headers={"Origin": origin})
        assert answer.status_code == 403
    own = client.post("/api/jobs", json=body, headers={"Origin": "http://testserver"})
    assert own.status_code == 404
    with pytest.raises(WebSocketDisconnect):
        client.websocket_connect("/live", headers={"Origin": "http://evil.example"}).__enter__()


def test_guesses_and_photos_are_limited(guarded, monkeypatch):
    monkeypatch.setattr(access, "_LOGINS", 3)
    monkeypatch.setattr(access, "_PREDICTIONS", 2)
    answers = [guarded.post("/login", data={"token": "x"}).status_code for _ in range(4)]
    assert answers == [401, 401, 401, 429]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    address = "/api/jobs/" + "0" * 16 + "/predict"
    answers = [guarded.post(address, headers=headers).status_code for _ in range(3)]
    assert answers[:2] != [429, 429]
    assert answers[2] == 429


def test_a_large_request_is_refused(client, monkeypatch):
    monkeypatch.setattr(access, "_BODY", 1000)
    assert client.post("/api/jobs", content=b"x" * 1001).status_code == 413

    def pieces():
        for _ in range(20):
            yield b"x" * 100

    assert client.post("/api/jobs", content=pieces()).status_code == 413


def test_browsers_are_told_what_they_may(client):
    headers = client.get("/api/health").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
