"""Serves a page on this machine alone, until it is interrupted."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from seqvae.errors import UserError
from seqvae.explore.app import create_app
from seqvae.explore.guard import make_token
from seqvae.explore.session import Explorer

HOST = "127.0.0.1"
GOODBYE = 2  # seconds that open connections have at the end


def serve(explorer: Explorer, port: int, say: Callable[[str], object], token: str | None = None) -> None:
    """Serve until Ctrl-C; `say` is given the address once it answers. Port 0 takes a free one.

    Raises:
        UserError: the port is taken, or not allowed.
    """
    listening = bind(port)
    port = listening.getsockname()[1]
    token = token or make_token()
    app = create_app(explorer, token, port)
    settings = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GOODBYE,
    )
    explorer.jobs.start("codes", explorer.load_points)
    say(f"http://{HOST}:{port}/{token}/")
    uvicorn.Server(settings).run(sockets=[listening])


def bind(port: int) -> socket.socket:
    """A listener on this machine's own address.

    Raises:
        UserError: the port is taken, or not allowed.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise UserError(
            f"port {port} cannot be used ({reason}): choose another --port; 0 takes a free one"
        ) from None
    return listening
