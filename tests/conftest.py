"""Fixtures of the service's tests: a store of made models and a server on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.made_models import make_model
from tests.support.server_process import ServerProcess, running_server

from eigenserve.model import ModelStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Five models; ``price`` has two versions, and the matrices of ``point`` are numbers."""
    made = ModelStore(tmp_path_factory.mktemp("store"))
    made.save("price", make_model(seed=1))
    made.save("price", make_model(seed=2))
    made.save("choice", make_model("binary", seed=3))
    made.save("level", make_model("multiclass", seed=6))
    made.save("count", make_model("poisson", seed=5))
    made.save("point", make_model(seed=6, dim=1))
    return made


@pytest.fixture(scope="session")
def server(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    with running_server(
        store.root,
        log,
        EIGENSERVE_DEFAULT_MODEL="price",
        EIGENSERVE_MAX_BODY_BYTES=str(12 * 2**20),
        EIGENSERVE_MAX_ROWS="5000",
    ) as running:
        yield running
        assert "Traceback" not in running.log_text()
