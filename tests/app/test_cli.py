"""The command line: a mistake is one clear line and exit code 2."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.server_process import ROOT, free_port, start_command

from eigenserve.app.batch.command import METHODS, add_score
from eigenserve.app.cli import FORMS
from eigenserve.app.keys.file import parse_keys
from eigenserve.app.keys.grants import ORDINARY, digest_of
from eigenserve.app.settings import Settings
from eigenserve.model import ModelStore


def run(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    log = tmp_path / "stderr"
    process = start_command(list(arguments), environment, log)
    try:
        return process.wait(60), log.read_text()
    finally:
        process.kill()


def check(code: int, error: str, *says: str):
    assert code == 2
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    for text in says:
        assert text in error


def test_a_missing_or_empty_store_is_named(tmp_path: Path):
    missing = tmp_path / "none"
    check(*run(tmp_path, "serve", "--store", str(missing)), str(missing), "does not exist", "eigenserve fit")
    missing.mkdir()
    check(*run(tmp_path, "serve", "--store", str(missing)), "is empty")


def test_a_port_in_use_is_named(tmp_path: Path, store: ModelStore):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        check(*run(tmp_path, "serve", "--store", str(store.root), "--port", port), port, "in use")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, store: ModelStore, workers: str):
    shutil.copytree(store.root / "price" / "1", tmp_path / "models" / "price" / "1")
    weights = tmp_path / "models" / "price" / "1" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    code, error = run(
        tmp_path,
        *("serve", "--store", str(tmp_path / "models"), "--port", str(free_port()), "--workers", workers),
    )
    check(code, error, str(weights), "damaged")


def test_an_unknown_default_model_is_named(tmp_path: Path, store: ModelStore):
    answer = run(
        tmp_path,
        *("serve", "--store", str(store.root), "--port", str(free_port())),
        EIGENSERVE_DEFAULT_MODEL="nope",
    )
    check(*answer, "'nope'", "price")


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["--port", "99999"], {}, "--port"),
        (["--workers", "none"], {}, "--workers"),
        ([], {"EIGENSERVE_MAX_ROWS": "0"}, "EIGENSERVE_MAX_ROWS"),
        ([], {"EIGENSERVE_LOG_LEVEL": "loud"}, "EIGENSERVE_LOG_LEVEL"),
        ([], {"EIGENSERVE_SHADOW": "a"}, "EIGENSERVE_SHADOW: must be NAME:VERSION, such as housing:2; got 'a'"),
        (["--host", "203.0.113.1"], {}, "203.0.113.1"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, store: ModelStore, arguments, environment, says):
    check(*run(tmp_path, "serve", "--store", str(store.root), *arguments, **environment), says)


def test_every_setting_with_a_pattern_says_what_is_right():
    fields = Settings.model_fields.items()
    assert {name for name, field in fields if any(getattr(m, "pattern", None) for m in field.metadata)} == {*FORMS}


def test_a_mistake_in_the_file_of_keys_is_named(tmp_path: Path, store: ModelStore):
    keys = tmp_path / "keys.toml"
    for content, says in (("[[keys]", "not valid TOML"), ('[[keys]]\nname = "a"\nsha256 = "a key"\n', "sha256")):
        keys.write_text(content)
        answer = run(tmp_path, "serve", "--store", str(store.root), EIGENSERVE_KEYS_FILE=str(keys))
        check(*answer, "keys.toml", says)
        assert "a key" not in answer[1].replace("keys.toml: key 1", "")
    check(*run(tmp_path, "serve", EIGENSERVE_JWT_AUDIENCE="us"), "EIGENSERVE_JWT_JWKS_URL")


def test_a_new_key_is_printed_with_its_entry():
    made = subprocess.run(
        [sys.executable, "-m", "eigenserve", "new-key", "billing", "--rows-per-s", "5", "--heavy", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    key = made.stderr.strip().removeprefix("key of billing: ")
    assert len(key) == 43
    grant = parse_keys(made.stdout, "entry")[digest_of(key.encode())]
    assert (grant.name, grant.rows_per_s, grant.heavy, grant.scopes) == ("billing", 5.0, 1, ORDINARY)


def test_the_page_on_scoring_names_every_option_and_its_defaults():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_score(commands)
    scoring = commands.choices["score"]
    page = (ROOT / "docs" / "scoring.md").read_text()
    options = scoring._actions
    assert options
    for action in options:
        assert action.dest == "help" or (action.option_strings or [action.metavar])[0] in page, action.dest
    (method,) = (action for action in options if action.dest == "method")
    (line,) = (line for line in page.splitlines() if line.startswith("| `--method`"))
    assert f"`{method.default or METHODS[0]}` (default)" in line
    assert all(f"`{choice}`" in line for choice in method.choices)
