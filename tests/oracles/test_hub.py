"""A store on the Hugging Face Hub, read by the Hub's own client from an endpoint here that answers as the Hub does."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.support.made_models import make_model, make_rows
from tests.support.server_process import running_server

from eigenserve.model import ModelStore

for _needed in ("huggingface_hub", "fsspec"):
    pytest.importorskip(_needed, reason="needs huggingface_hub")

REPO, COMMIT = "somebody/models", "1" * 40


class Hub(BaseHTTPRequestHandler):
    """Answers what the Hub's client asks of one repository: what it is, its tree, and its files (api.md of the Hub)."""

    folder: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        api, files = f"/api/models/{REPO}", f"/{REPO}/resolve/"
        if path.startswith(f"{api}/tree/"):
            below = path.removeprefix(f"{api}/tree/").partition("/")[2]
            found = self.folder / below
            self._answer(200 if found.is_dir() else 404, [self._entry(child) for child in self._children(found)])
        elif path.startswith(f"{api}/paths-info/"):
            named = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
            self._answer(200, [self._entry(self.folder / name) for name in named if (self.folder / name).exists()])
        elif path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            self._answer(200, {"_id": "1", "id": REPO, "sha": COMMIT, "siblings": [], "private": False, "tags": []})
        elif path.startswith(files) and (found := self.folder / path.removeprefix(files).partition("/")[2]).is_file():
            self._file(found.read_bytes())
        else:
            self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_POST = do_GET  # noqa: N815 (the names that the base class looks for)

    def _children(self, folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        return sorted(
            folder.rglob("*") if "recursive=True" in self.path or "recursive=true" in self.path else folder.iterdir()
        )

    def _entry(self, path: Path) -> dict:
        place = str(path.relative_to(self.folder))
        if path.is_dir():
            return {"type": "directory", "oid": "0" * 40, "size": 0, "path": place}
        content = path.read_bytes()
        return {"type": "file", "oid": hashlib.sha1(content).hexdigest(), "size": len(content), "path": place}

    def _file(self, content: bytes) -> None:
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        wanted, status = self.headers.get("Range"), 200
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(int(last or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{end}/{len(content)}"
            content, status = content[int(first) : end + 1], 206
        self._send(status, content, headers)

    def _answer(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[ModelStore, str]]:
    """The repository's folder as a store, and the endpoint."""
    store = ModelStore(tmp_path / "repository")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Hub,), {"folder": store.root}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield store, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_models_of_a_repository_are_loaded_and_served(hub: tuple[ModelStore, str], tmp_path: Path):
    store, endpoint = hub
    rows = make_rows(20)
    store.save("price", make_model(seed=1))
    expected = store.save("price", make_model(seed=2)).predict(rows).tolist()
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONWARNINGS": "ignore",
        "EIGENSERVE_STORE_CACHE": str(tmp_path / "cache"),
        "EIGENSERVE_WATCH_INTERVAL_S": "0.5",
    }
    with running_server(f"hf://{REPO}", tmp_path / "log", **settings) as server:  # type: ignore[arg-type]
        answer = server.client.post("/predict", json={"instances": rows}).json()
        assert (answer["version"], answer["predictions"]) == ("2", expected)
        expected = store.save("price", make_model(seed=3)).predict(rows).tolist()
        ends = time.monotonic() + 30.0
        while (answer := server.client.post("/predict", json={"instances": rows}).json())["version"] != "3":
            assert time.monotonic() < ends, "the new version was not followed"
            time.sleep(0.2)
        assert answer["predictions"] == expected
        assert "Traceback" not in server.log_text()
