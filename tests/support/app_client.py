"""The service in this process, with a client of it: for settings that the shared server does not have."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from eigenserve.app.application import create_app
from eigenserve.app.settings import Settings
from eigenserve.model import ModelStore

#: A cold kernel cache compiles for a minute and more.
TIMEOUT_S = 180.0


class AppClient:
    """Sends requests to an application on an event loop in another thread."""

    def __init__(self, app: FastAPI, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self._loop = app, loop
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT_S)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.run(self._client.get(path, **options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.run(self._client.post(path, **options))


@contextmanager
def app_client(store: ModelStore, **settings: Any) -> Iterator[AppClient]:
    given = {"default_model": "price", "access_log": False, **settings}
    app, loop = create_app(Settings(store=str(store.root), **given)), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="app")
    thread.start()
    client = AppClient(app, loop)
    life = app.router.lifespan_context(app)
    try:
        client.run(life.__aenter__())
        try:
            ends = time.monotonic() + TIMEOUT_S
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < ends, "the models are not loaded in time"
                time.sleep(0.02)
            yield client
        finally:
            client.run(life.__aexit__(None, None, None))
            client.run(client._client.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_S)
        loop.close()
