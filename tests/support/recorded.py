"""Decision records to be changed: what was asked, and what is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.app_client import AppClient
from tests.support.made_models import ROW, make_rows

from eigenserve.app.observability.records.folder import LocalFolder
from eigenserve.app.observability.records.verify import Verdict, Verifier

PEOPLE = [{"id": f"person {i % 40}", **row} for i, row in enumerate(make_rows(400, seed=5))]


def verify(folder: Path, key: Any = None) -> Verdict:
    return Verifier(LocalFolder(folder), key).verify()


def ask_everything(client: AppClient) -> int:
    """Ask all that is recorded, of three models; return the rows."""
    asked = [
        ("/predict", {"instances": PEOPLE}),
        ("/predict", {"instances": PEOPLE[:2], "model": "choice"}),
        ("/predict", {"instances": [list(ROW.values())] * 3, "model": "level"}),
        ("/explain", {"instances": PEOPLE[:50], "reference": PEOPLE[:5]}),
        ("/explain", {"instances": make_rows(9), "model": "level", "method": "eigenvector", "target": "mid"}),
        ("/explain", {"instances": PEOPLE[:3], "method": "shapley", "baseline": ROW}),
        ("/explain", {"instances": PEOPLE[:3], "groups": {"who": ["age", "member"]}}),
        ("/reasons", {"instances": PEOPLE[:4], "cutoff": 0.0}),
        ("/v1/models/price:predict", {"instances": make_rows(5)}),
    ]
    for path, body in asked:
        for row in body["instances"] if path == "/explain" and "reference" in body else ():
            assert "id" in row
        if "reference" in body:
            body = {**body, "reference": [{k: v for k, v in row.items() if k != "id"} for row in body["reference"]]}
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
    return sum(len(body["instances"]) for _, body in asked)


def chain_of(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.is_dir() and path.name != "erasures")
