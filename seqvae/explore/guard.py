"""Who may talk to the page: the page itself, at this machine's own name, with the token in the address."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost")
LARGEST = 4 << 20  # bytes of a request's body
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # or links would give the token away
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_token() -> str:
    """A random token of 128 bits."""
    return secrets.token_urlsafe(16)


class Guard:
    """Refuses a request unless its path starts with the token and its Host and Origin are this machine's own.

    The Host is checked against DNS rebinding, the Origin against other sites' scripts. A request that
    passes goes on without the token in its path.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{host}:{port}" for host in HOSTS}
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 403 or 413, or hand on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no websockets
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        status, refusal = self._refusal(scope["path"], headers)
        if refusal:
            await PlainTextResponse(refusal, status, HEADERS)(scope, receive, send)
            return
        if scope["path"] == f"/{self.token}":  # or the page would look for its files beside itself
            await RedirectResponse(f"/{self.token}/", headers=HEADERS)(scope, receive, send)
            return
        inner = {**scope, "path": scope["path"][len(self.token) + 1 :], "raw_path": None}
        await self.app(inner, receive, _with_headers(send))

    def _refusal(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """The status and the reason; no reason where the request may pass."""
        if headers.get("host", "").lower() not in self.hosts:
            return 403, "refused: this page answers to 127.0.0.1 and localhost only"
        if "origin" in headers and headers["origin"].lower() not in self.origins:
            return 403, "refused: the request comes from another page"
        given = path.lstrip("/").partition("/")[0]
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return 403, "refused: open the address that `seqvae explore` printed, with its token"
        if _length(headers) > LARGEST:
            return 413, f"refused: a request holds at most {LARGEST:,} bytes"
        return 200, ""


def _length(headers: dict[str, str]) -> int:
    """The size of the body; an unknown one counts as too large."""
    if "transfer-encoding" in headers:
        return LARGEST + 1
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else LARGEST + 1


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    """Adds `HEADERS` to a response."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given: list[Any] = list(message.get("headers", []))
            given += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": given}
        await send(message)

    return sending
