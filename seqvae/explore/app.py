"""The web application: the page's files, one address per view, and progress."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from seqvae.errors import UserError
from seqvae.explore.guard import Guard
from seqvae.explore.jobs import JobFailed, Pending
from seqvae.explore.session import Explorer
from seqvae.explore.views import VIEWS, View

ASSETS = Path(__file__).parent / "assets"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
LOG = logging.getLogger("seqvae")


def create_app(explorer: Explorer, token: str, port: int) -> ASGIApp:
    """The application for a run, behind its guard.

    `POST /TOKEN/api/VIEW` takes the request of the view as JSON. It answers 200 with the result; 202 with
    the progress of the work that the result waits for; 400 where the run cannot do what was asked; 422
    where a value is out of its limits. An error is `{"error": one line}`.
    """
    app = FastAPI(title="seqvae explore", docs_url=None, redoc_url=None, openapi_url=None)
    for name, (model, view) in VIEWS.items():
        app.add_api_route(f"/api/{name}", _endpoint(explorer, model, view), methods=["POST"])
    app.add_api_route("/api/jobs", lambda: answer({"jobs": explorer.jobs.states()}), methods=["POST"])
    app.add_api_route("/{name:path}", serve_asset, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(Exception, _broken)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    return Guard(app, token, port)


def answer(content: Any, status: int = 200) -> Response:
    """A JSON response; numbers that are no numbers are refused by `json` rather than sent."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # lone surrogates, which a text may hold, are no UTF-8
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


def _endpoint(explorer: Explorer, model: type[Any], view: View) -> Callable[..., Response]:
    """A view as FastAPI calls it: in a thread of its pool, so that one user does not wait for another."""

    def endpoint(request: Any) -> Response:
        try:
            return answer(view(explorer, request))
        except Pending as pending:
            return answer({"pending": pending.job.progress}, 202)
        except UserError as refused:
            return answer({"error": str(refused)}, 400)
        except JobFailed as failed:
            return answer({"error": str(failed)}, 500)

    endpoint.__annotations__ = {"request": model, "return": Response}
    return endpoint


def serve_asset(name: str) -> Response:
    """A file of the page."""
    path = ASSETS / (name or "index.html")
    if path.parent != ASSETS or path.suffix not in TYPES or not path.is_file():
        return answer({"error": "no such file"}, 404)
    return FileResponse(path, media_type=TYPES[path.suffix])


def _invalid(_: Request, error: Exception) -> Response:
    """The first thing that is wrong with a request, in a line."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    said = str(first["msg"]).removeprefix("Value error, ")
    return answer({"error": f"{where}: {said}" if where else said}, 422)


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer({"error": str(error.detail)}, error.status_code)


def _broken(_: Request, error: Exception) -> Response:
    """A bug: its traceback is logged, the page says what kind of error it was."""
    LOG.error("seqvae explore: %s", error, exc_info=error)
    return answer({"error": f"{type(error).__name__}: see the terminal that runs seqvae explore"}, 500)
