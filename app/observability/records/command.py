"""Run the commands `eigenserve records verify | replay | show | erase`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eigenserve.errors import UserError

#: Exit codes of ``verify``: something was changed; something was lost, and nothing changed. Of ``erase``: parts that
#: are being gathered may hold more rows.
CHANGED, LOST, WAITING = 1, 3, 3
#: Seconds for which ``erase`` waits for parts that are being gathered: more than they take by default.
WAIT_S = 30.0


def add_records(commands: Any) -> None:
    """Add the command to the subparsers."""
    records = commands.add_parser("records", help="verify, replay, show or erase recorded decisions")
    verbs = records.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for name, run, text in (
        ("verify", _verify, "find what was changed, removed or lost"),
        ("replay", _replay, "compute all answers again and compare every bit"),
        ("show", _show, "print decisions as lines of JSON"),
        ("erase", _erase, "remove inputs, contributions and reasons of a person's rows"),
    ):
        verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        verb.set_defaults(run=run)
        verb.add_argument("records", metavar="URL", help="folder or fsspec URL, as in EIGENSERVE_RECORDS")
        if name == "verify":
            verb.add_argument("--public-key", type=Path, metavar="FILE", help="require signatures by this key (PEM)")
            verb.add_argument(
                "--heads", type=Path, metavar="FILE", help="require the heads that an earlier --json printed"
            )
        if name == "replay":
            verb.add_argument("--store", default="models", metavar="STORE", help="of the models (default models/)")
        if name in ("verify", "replay"):
            verb.add_argument("--json", action="store_true", help="print one JSON object as the last line")
        if name == "show":
            verb.add_argument("--request", metavar="ID", help="only those of one request")
            verb.add_argument("--model", metavar="NAME", help="only those of one model")
        if name in ("show", "erase"):
            verb.add_argument("--id", required=name == "erase", help="of the rows of one person, as given with rows")
        if name == "erase":
            verb.add_argument("--key", type=Path, metavar="FILE", help="private key (PEM) that signs the note of it")
            verb.add_argument(
                "--wait",
                type=float,
                default=WAIT_S,
                metavar="S",
                help="seconds to wait for parts that are being gathered (default %(default)g)",
            )


def _folder(parsed: argparse.Namespace) -> Any:
    from eigenserve.app.observability.records.chain import chain_names
    from eigenserve.app.observability.records.folder import open_folder

    folder = open_folder(parsed.records)
    if not chain_names(folder):
        raise UserError(f"no records at {parsed.records}")
    return folder


def _verify(parsed: argparse.Namespace) -> int:
    from eigenserve.app.observability.records.chain import public_key
    from eigenserve.app.observability.records.verdict import read_heads
    from eigenserve.app.observability.records.verify import Verifier

    key = None if parsed.public_key is None else public_key(parsed.public_key)
    heads = None if parsed.heads is None else read_heads(parsed.heads)
    verdict = Verifier(_folder(parsed), key, heads).verify()
    for fault in verdict.faults:
        print(f"CHANGED: {fault}")
    for loss in verdict.lost:
        print(f"LOST: {loss}")
    for part in verdict.open:
        print(f"OPEN: {part}")
    for stray in verdict.strays:
        print(f"NOT A CHAIN: {stray}")
    for text in verdict.unproved:
        print(f"NOT PROVED: {text}")
    state = "changed" if verdict.faults else "incomplete" if verdict.lost else "in order"
    print(f"{state}: {verdict.chains} chains, {verdict.parts} parts, {verdict.rows:,} rows, {verdict.erased:,} erased")
    if parsed.json:
        print(json.dumps(asdict(verdict)))
    return CHANGED if verdict.faults else LOST if verdict.lost else 0


def _replay(parsed: argparse.Namespace) -> int:
    from eigenserve.app.observability.records.replay import replay
    from eigenserve.app.registry.served import ServedModel
    from eigenserve.model import CheckpointError
    from eigenserve.model.checkpoints.locations import open_store

    store, known = open_store(parsed.store), dict[tuple[str, int, str], ServedModel]()

    def find(name: str, version: int, digest: str) -> ServedModel:
        if (name, version, digest) not in known:
            try:
                files = store.read(name, version)
                made = ServedModel(name, version, files.model(), files.digest)
            except (CheckpointError, OSError, LookupError) as error:
                raise ValueError(
                    f"version {version} of {name} cannot be loaded from {parsed.store}: {error}"
                ) from error
            if files.digest != digest:
                raise ValueError(f"version {version} of {name} in {parsed.store} is another one than recorded")
            known[name, version, digest] = made
        return known[name, version, digest]

    result = replay(_folder(parsed), find)
    for text in result.named:
        print(f"DIFFERENT: {text}")
    for reason, rows in result.skipped.items():
        print(f"skipped {rows:,} rows: {reason}")
    for differs, rows in result.cpus.items():
        if differs:
            print(f"{rows:,} rows were recorded elsewhere, where last bits may differ: {differs}")
    of_them = f"{result.explained:,} of them explained, {result.reasoned:,} with reasons"
    print(f"{result.rows:,} rows computed again, {of_them}: {result.different:,} differ; {result.erased:,} were erased")
    if not any(result.cpus):
        print("recorded with these releases on such a CPU, for which identical bits are promised")
    if parsed.json:
        print(json.dumps(asdict(result)))
    return CHANGED if result.different else LOST if result.skipped else 0


def _show(parsed: argparse.Namespace) -> None:
    for row in _rows(_folder(parsed), parsed):
        print(json.dumps(row, default=_text))


def _rows(folder: Any, parsed: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from eigenserve.app.observability.records.reading import parts, read_rows, rows_of

    for part in parts(folder):
        if parsed.model is not None and part.model["model"] != parsed.model:
            continue
        table = read_rows(folder, part.details)
        if parsed.id is not None:
            table = table.filter(rows_of(table, parsed.id))
        details = {row.pop("n"): row for row in table.to_pylist()}
        for n, decision in enumerate(read_rows(folder, part.decisions).to_pylist()):
            detail = details.get(n)
            if parsed.request is not None and decision["request_id"] != parsed.request:
                continue
            if parsed.id is not None and detail is None:
                continue
            yield {**decision, **(detail or {"erased": True})}


def _erase(parsed: argparse.Namespace) -> int:
    from eigenserve.app.observability.records.chain import private_key
    from eigenserve.app.observability.records.erase import erase

    key = None if parsed.key is None else private_key(parsed.key)
    erased = erase(_folder(parsed), parsed.id, key, parsed.wait)
    print(f"erased inputs, contributions and reasons of {erased.rows:,} rows")
    for part in erased.waiting:
        print(f"WAITING: {part}: it may hold more rows of this id; erase again once it is written")
    return WAITING if erased.waiting else 0


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else value.isoformat()
