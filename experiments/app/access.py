"""Who may come in, and from which page: before anything else reads a request."""

import hmac
import ipaddress
import os
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slicing.errors import InputError

TOKEN, COOKIE, LOGIN, HEALTH = "APP_TOKEN", "session", "/login", "/api/health"
"""A variable of the environment, a cookie, and the two addresses that need neither."""

LOCAL = ["127.0.0.1", "localhost", "[::1]"]
"""Names of this machine for its own browsers."""

_MIN_TOKEN = 16
_SAFE = {"GET", "HEAD", "OPTIONS"}
# Requests of a client in a minute.
_LOGINS, _UPLOADS, _PREDICTIONS = 10, 20, 120
# Bytes of a request that is not the upload of a data set.
_BODY = 64_000_000
_TOO_LARGE = f"A request may have {_BODY:,} bytes: send fewer."
_UPLOAD = ("POST", "/api/datasets")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Come in</title>
<meta name="viewport" content="width=device-width"><style>:root{color-scheme:light dark}
body{font:1rem system-ui;display:grid;place-items:center;min-height:90vh}</style>
<main><form method="post"><label>Token <input name="token" type="password" required
autocomplete="current-password" autofocus></label> <button>Come in</button><p role="alert">%s</p>
</form></main></html>
"""


def token_of(host: str, environment: Mapping[str, str] = os.environ) -> str:
    """Give the secret that people must know; empty: none, which is for this machine alone.

    Raises
    ------
    InputError
        Where others can reach the server, and there is none.
    """
    token = environment.get(TOKEN, "")
    if token and len(token) < _MIN_TOKEN:
        raise InputError(f"{TOKEN} has fewer than {_MIN_TOKEN} letters: take a longer one.")
    if not token and not _is_local(host):
        raise InputError(
            f"host={host} lets others reach the app: set a secret of {_MIN_TOKEN} letters or more "
            f"in the environment, {TOKEN}=..., or leave host out.",
            "host",
        )
    return token


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Checks each request: its host's page, its token, its size, and how many there were.

    Parameters
    ----------
    app : ASGI application
    token : str
        See :func:`token_of`.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()
        # What a browser keeps is not the token itself.
        self._session = hmac.digest(self._token, b"session", "sha256").hex()
        self._recent = defaultdict[tuple[str, str], deque[float]](deque)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._refusal(scope, headers)
        is_login = scope["type"] == "http" and scope["path"] == LOGIN
        if answer is None and is_login and self._token:
            answer = await self._login(scope, receive)
        if scope["type"] == "websocket":
            if answer is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        limited = receive if _kind_of(scope) == _UPLOAD else _Limited(receive)

        async def with_headers(message: Message) -> None:
            # What the framework says of it then is not about the size.
            if isinstance(limited, _Limited) and limited.is_too_large:
                raise _TooLargeError
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    given.setdefault(name, value)
            await send(message)

        try:
            await (answer or self._app)(scope, limited, with_headers)
        except _TooLargeError:
            await _fault(413, _TOO_LARGE)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Say why a request is not let through; None: it is."""
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE
        origin = headers.get("origin")
        if changes and origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return _fault(403, "The request comes from a page of another address.")
        if self._is_too_often(scope):
            return _fault(429, "There were too many requests: wait a minute.")
        length = headers.get("content-length", "")
        if _kind_of(scope) != _UPLOAD and length.isdecimal() and int(length) > _BODY:
            return _fault(413, _TOO_LARGE)
        is_open = scope["type"] == "http" and scope["path"] in (LOGIN, HEALTH)
        if not self._token or is_open or self._is_known(headers):
            return None
        if "text/html" in headers.get("accept", ""):
            return RedirectResponse(LOGIN, 303)
        return _fault(401, "Who are you? Send the header Authorization: Bearer with the token.")

    def _is_known(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode(), self._token)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(
            cookie.value.encode(), self._session.encode()
        )

    def _is_too_often(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] in _SAFE:
            return False
        path = scope["path"]
        if path == LOGIN:
            what, most = LOGIN, _LOGINS
        elif path.startswith("/api/datasets"):
            what, most = "upload", _UPLOADS
        elif path.endswith("/predict"):
            what, most = "predict", _PREDICTIONS
        else:
            return False
        now, recent = time.monotonic(), self._recent[(scope.get("client") or ("",))[0], what]
        while recent and now - recent[0] > 60:
            recent.popleft()
        if len(recent) >= most:
            return True
        recent.append(now)
        return False

    async def _login(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] != "POST":
            return HTMLResponse(_PAGE % "")
        body = b""
        while len(body) < 10_000:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        given = parse_qs(body.decode(errors="replace")).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self._token):
            return HTMLResponse(_PAGE % "That is not the token.", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, self._session, httponly=True, samesite="strict",
            secure=scope["scheme"] == "https",
        )  # fmt: skip
        return answer


class _TooLargeError(Exception):
    """A request has more bytes than it may."""


class _Limited:
    """Receives a request, up to so many bytes."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._received = receive, 0

    @property
    def is_too_large(self) -> bool:
        return self._received > _BODY

    async def __call__(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self.is_too_large:
            raise _TooLargeError
        return message


def _kind_of(scope: Scope) -> tuple[str, str]:
    return scope.get("method", ""), scope["path"].rstrip("/")


def _fault(status: int, sentence: str) -> Response:
    return JSONResponse({"detail": sentence, "option": None}, status)
