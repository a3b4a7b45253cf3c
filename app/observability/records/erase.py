"""Erase the rows of a person from records, and note it so that the rest can still be verified."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eigenserve.app.observability.records.chain import ERASURES, LINK, sha256
from eigenserve.app.observability.records.decisions import to_parquet
from eigenserve.app.observability.records.folder import Folder
from eigenserve.app.observability.records.reading import parts, read_rows


def erase(folder: Folder, person: str, key: Any = None) -> int:
    """Remove the details of all rows with an id, and return how many there were.

    What stays of such a row is its decision: what was answered, without inputs, contributions, reasons and id. Each
    erasure is noted before the file of details is replaced; killed in between, it is done by the same call.

    Args:
        folder: where the chains are.
        person: the id.
        key: signs the notes; None for none.
    """
    count = 0
    for part in parts(folder):
        details = read_rows(folder, part.details)
        if "id" not in details.column_names:
            continue
        chosen = pc.fill_null(pc.equal(details.column("id"), pa.scalar(person)), False)
        rows = details.column("n").filter(chosen).to_pylist()
        if not rows:
            continue
        left = to_parquet(details.filter(pc.invert(chosen)))
        entry = {
            "chain": part.chain,
            "part": part.number,
            "before": sha256(folder.read(part.details)),
            "after": sha256(left),
        }
        _note(folder, {**entry, "rows": rows}, key)
        folder.write(part.details, left)
        count += len(rows)
    return count


def _note(folder: Folder, entry: dict[str, Any], key: Any) -> None:
    numbers = [name for name in folder.names(ERASURES) if LINK.fullmatch(name)]
    previous = folder.read(f"{ERASURES}/{numbers[-1]}") if numbers else None
    if previous is not None and _is_same(json.loads(previous), entry):
        return  # of a call that was killed
    document = {
        "number": len(numbers) + 1,
        "previous": None if previous is None else sha256(previous),
        "at": time.time(),
        **entry,
    }
    content, path = json.dumps(document, indent=1).encode(), f"{ERASURES}/{len(numbers) + 1:08d}.json"
    if key is not None:
        folder.write(f"{path}.sig", key.sign(content))
    folder.write(path, content)


def _is_same(document: dict[str, Any], entry: dict[str, Any]) -> bool:
    return all(document.get(name) == value for name, value in entry.items())
