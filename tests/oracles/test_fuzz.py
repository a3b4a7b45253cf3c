"""Requests made from OpenAPI schemas, by the thousand: no 5xx, and no answer that is not documented."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.fuzz import corpus, send_mutations
from tests.support.server_process import ServerProcess

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
#: Of every operation. 850 make 20,000 requests with both schemas together and take a quarter of an hour.
EXAMPLES = os.environ.get("EIGENSERVE_FUZZ_EXAMPLES", "10")
#: A fifteenth of what `python -m benchmarks.fuzz` sends.
MUTATIONS = 3000
#: Where the Open Inference Protocol's published schema is: specification/protocol/open_inference_rest.yaml of
#: github.com/kserve/open-inference-protocol.
PUBLISHED = os.environ.get("EIGENSERVE_OIP_SCHEMA")


def fuzz(schema: str, tmp_path: Path, *arguments: str):
    """Send what schemathesis makes of a schema, and show what it found."""
    pytest.importorskip("schemathesis", reason="needs schemathesis")
    program = Path(sys.executable).with_name("st")
    phases = ["--phases", "examples,coverage,fuzzing"]
    answer = subprocess.run(
        [program, "run", schema, "--checks", CHECKS, "--max-examples", EXAMPLES, *phases, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    print(re.findall(r"Test cases:.*\n?.*", answer.stdout))
    assert answer.returncode == 0, answer.stdout[-5000:]


def test_damaged_requests_end_in_no_defect_and_hold_nothing_up(server: ServerProcess):
    outcome = send_mutations(server.url, corpus(server.url), range(MUTATIONS), seed=0)
    print(outcome)
    assert outcome.faults == {}
    assert {200, 400, 415, 422} <= set(outcome.statuses)


def test_no_generated_request_gets_an_undocumented_answer(server: ServerProcess, tmp_path: Path):
    fuzz(f"{server.url}/openapi.json", tmp_path)


def test_the_published_protocol_is_kept(server: ServerProcess, tmp_path: Path):
    if PUBLISHED is None:
        pytest.skip("needs EIGENSERVE_OIP_SCHEMA, the path of the published open_inference_rest.yaml")
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    published = yaml.safe_load(Path(PUBLISHED).read_text())
    published["paths"] = {path.replace("${", "{"): operations for path, operations in published["paths"].items()}
    for operations in published["paths"].values():
        for parameter in operations.get("parameters", []):
            parameter["schema"]["enum"] = {"MODEL_NAME": ["price", "choice", "level"], "MODEL_VERSION": ["1"]}[
                parameter["name"]
            ]
        for operation in operations.values():
            if isinstance(operation, dict):
                _add_silence(operation)
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(published))
    fuzz("published.yaml", tmp_path, "--url", server.url)


def _add_silence(operation: dict[str, Any]):
    """Where the published schema is silent: a name that is none is a 404, and a body of no known type a 415."""
    responses = operation["responses"]
    for status in ("404", "415"):
        responses.setdefault(status, {"description": "not in the published schema"})
