"""Requests made from the OpenAPI schema, by the thousand: no 5xx, and no answer that is not documented."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import ServerProcess

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_no_generated_request_gets_an_undocumented_answer(server: ServerProcess, tmp_path: Path):
    pytest.importorskip("schemathesis", reason="needs schemathesis")
    # EIGENSERVE_FUZZ_EXAMPLES=700 makes 20,000 requests and takes ten minutes.
    examples = os.environ.get("EIGENSERVE_FUZZ_EXAMPLES", "10")
    program = Path(sys.executable).with_name("st")
    phases = ["--phases", "examples,coverage,fuzzing"]
    answer = subprocess.run(
        [program, "run", f"{server.url}/openapi.json", "--checks", CHECKS, "--max-examples", examples, *phases],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-5000:]
