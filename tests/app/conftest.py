"""Fixtures of the service's tests: a store of made models and a server on it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model import ModelStore

# importmode=importlib puts no test folder on the path; the helpers of these tests are loaded by place.
for _name in ("browser", "load", "made_models", "server_process"):
    _spec = importlib.util.spec_from_file_location(_name, Path(__file__).with_name(f"{_name}.py"))
    assert _spec is not None
    assert _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules[_name] = _module
    _spec.loader.exec_module(_module)

from made_models import make_model  # noqa: E402
from server_process import ServerProcess, running_server  # noqa: E402


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Five models; ``price`` has two versions, and the matrices of ``point`` are numbers."""
    made = ModelStore(tmp_path_factory.mktemp("store"))
    made.save("price", make_model(seed=1))
    made.save("price", make_model(seed=2))
    made.save("choice", make_model("binary", seed=3))
    made.save("level", make_model("multiclass", seed=4))
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
