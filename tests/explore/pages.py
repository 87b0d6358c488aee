"""A page on a tiny run, asked as the browser asks it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `explore` (fastapi, uvicorn)")
pytest.importorskip("uvicorn", reason="needs the extra `explore` (fastapi, uvicorn)")

from starlette.testclient import TestClient

from seqvae.explore.app import create_app
from seqvae.explore.session import Explorer

TOKEN, PORT = "a-token", 8123
HOST = f"127.0.0.1:{PORT}"


class Page:
    """An explorer and a client of its application."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.client = TestClient(create_app(explorer, TOKEN, PORT), base_url=f"http://{HOST}")

    def post(self, view: str, request: Any = None, **options: Any) -> Any:
        """The response, whatever its status."""
        return self.client.post(f"/{TOKEN}/api/{view}", json=request or {}, **options)

    def ask(self, view: str, request: Any = None) -> Any:
        """The answer, waited for where work is done in the background."""
        while (response := self.post(view, request)).status_code == 202:
            self.explorer.jobs.wait(response.json()["pending"]["job"])
        assert response.status_code == 200, response.text
        return response.json()

    def refusal(self, view: str, request: Any, status: int) -> str:
        """What is said of a request that is refused with a status."""
        response = self.post(view, request)
        assert response.status_code == status, response.text
        said: str = response.json()["error"]
        assert "\n" not in said
        return said
