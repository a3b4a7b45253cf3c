"""Private parts of other packages that are used here: each is named, so that a new release says which one broke."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
HTTP = "uvicorn.protocols.http.httptools_impl"
#: Module, name in it, and the parameters or attributes that it is used with.
PARTS = (
    (HTTP, "HttpToolsProtocol.on_message_begin", ("self",)),
    (HTTP, "HttpToolsProtocol.on_url", ("self", "url")),
    (HTTP, "HttpToolsProtocol.on_header", ("self", "name", "value")),
    (HTTP, "HttpToolsProtocol.on_headers_complete", ("self",)),
    (HTTP, "HttpToolsProtocol.on_body", ("self", "body")),
    (HTTP, "HttpToolsProtocol.on_message_complete", ("self",)),
    (HTTP, "HttpToolsProtocol.send_400_response", ("self", "msg")),
    (HTTP, "HttpToolsProtocol.data_received", ("self", "data")),
    (HTTP, "HttpToolsProtocol.connection_made", ("self", "transport")),
    (HTTP, "HttpToolsProtocol.connection_lost", ("self", "exc")),
    ("uvicorn", "Server.startup", ("self", "sockets")),
    ("uvicorn", "Server.shutdown", ("self", "sockets")),
    ("uvicorn", "Server.on_tick", ("self", "counter")),
    ("uvicorn", "Server.handle_exit", ("self", "sig", "frame")),
    ("uvicorn", "Server.capture_signals", ("self",)),
    ("numba.extending", "intrinsic", None),
    ("numba.extending", "lower_builtin", None),
    ("numba.extending", "register_model", None),
    ("numba.core.datamodel", "models.PrimitiveModel", None),
    ("numba.core.registry", "cpu_target.target_context", None),
    ("numba.core.types.misc", "CPointer", None),
    ("numba.core.typing.templates", "AbstractTemplate", None),
    ("numba.core.typing.templates", "infer_global", None),
    ("numba.core.dispatcher", "Dispatcher", None),
)


@pytest.mark.parametrize(("module", "name", "parameters"), PARTS, ids=[f"{m}:{n}" for m, n, _ in PARTS])
def test_a_private_part_is_as_it_is_used(module: str, name: str, parameters: tuple[str, ...] | None):
    part = importlib.import_module(module)
    for step in name.split("."):
        part = getattr(part, step)
    if parameters is not None:
        assert tuple(inspect.signature(part).parameters) == parameters


def test_a_connection_of_uvicorn_has_the_fields_that_ours_changes():
    source = inspect.getsource(importlib.import_module(HTTP))
    protocol, _, cycle = source.partition("class RequestResponseCycle")
    for field in ("scope", "flow", "cycle", "transport", "loop", "connections", "config", "parser", "headers"):
        assert re.search(rf"self\.{field}\b", protocol), field
    for field in ("body", "message_event", "response_complete", "more_body", "keep_alive"):
        assert re.search(rf"self\.{field}\b", cycle), field


@pytest.mark.parametrize("package", ["numba", "uvicorn"])
def test_a_package_whose_private_parts_are_used_is_bounded_by_the_release_that_was_tried(package: str):
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    (bounds,) = [r.specifier for r in map(Requirement, required) if r.name == package]
    installed = version(package)
    assert installed in bounds
    major, minor = map(int, installed.split(".")[:2])
    assert f"{major}.{minor + 1}" not in bounds
