"""Plan what is sent and what is made of each answer, without sending: generators that both clients drive."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import httpx

from eigenserve.client.errors import ServiceError
from eigenserve.client.options import kept_names
from eigenserve.client.tables import ARROW, Rows, frame_of, has_arrow, joined, read_rows, table_answer

#: Rows of one request: of a client's many rows each part is answered within a second or so, and retried alone.
ROWS_AT_ONCE = 10_000
#: Rows of a DataFrame from which on Arrow is sent. Measured on 8 columns: below, JSON takes no longer.
ARROW_ROWS = 500
#: Statuses of too many rows for one request, or for the deadline: the rows are then sent in smaller parts.
TOO_MANY = frozenset({413, 504})
LEAST_ROWS = 100

T = TypeVar("T")


class _Answer(NamedTuple):
    frame: Any
    entries: Sequence[Any]
    kept: Sequence[Mapping[str, Any]]
    version: str


class Send(NamedTuple):
    """Describe one request."""

    method: str
    path: str
    json: Any = None
    content: bytes | None = None
    params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


#: Yields requests, is sent their answers, and returns the result.
Exchange = Generator[Send, httpx.Response, T]


@dataclass(frozen=True)
class Question:
    """Hold a question about rows.

    Attributes:
        path: of the service.
        key: of the answer's list, with an entry for each row.
        options: further keys of the body; those that are None are left out.
        columns: turns entries into columns of a DataFrame.
        tables: whether the service also takes and gives this as Arrow.
    """

    path: str
    key: str
    options: Mapping[str, Any]
    columns: Callable[[Sequence[Any]], dict[str, list[Any]]]
    tables: bool = True


def ask(rows: Any, question: Question) -> Exchange[Any]:
    """Ask about rows, some at a time, all of them answered by one version.

    Returns:
        A DataFrame where the rows are one, else a list with an entry for each row.

    Raises:
        TypeError, ValueError: rows that are not rows, or none.
    """
    source = read_rows(rows)
    if not len(source):
        raise ValueError("rows must have at least one row; got none")
    options = {key: value for key, value in question.options.items() if value is not None}
    as_table = question.tables and _is_tabular(options) and has_arrow() and len(source) >= ARROW_ROWS
    answers: list[_Answer] = []
    start, step = 0, ROWS_AT_ONCE
    while start < len(source):
        part = source.part(start, start + step)
        try:
            answer = yield from _answer(part, question, options, bool(source.library) and as_table)
        except ServiceError as error:
            if error.status not in TOO_MANY or len(part) <= LEAST_ROWS:
                raise error.moved(start) from None
            step = max(LEAST_ROWS, len(part) // 2)
            continue
        answers.append(answer)
        options["version"] = answer.version
        start += len(part)
    if source.library:
        return joined([answer.frame for answer in answers], source.library)
    return _with_kept(answers)


def _answer(part: Rows, question: Question, options: Mapping[str, Any], as_table: bool) -> Exchange[_Answer]:
    """Ask about some rows in one request."""
    if as_table:
        query = {key: str(v).lower() if isinstance(v, bool) else str(v) for key, v in options.items()}
        headers = {"content-type": ARROW, "accept": ARROW}
        response = yield Send("POST", question.path, content=part.arrow(), params=query, headers=headers)
        frame, version = table_answer(response.content, part, {*kept_names(options), "id"})
        return _Answer(frame, (), (), version)
    body = {"instances": part.plain(), **options, **({"table": True} if part.library else {})}
    document = (yield Send("POST", question.path, json=body)).json()
    entries = _entries(document, question.key)
    kept = _kept(document, entries)
    if not part.library:
        return _Answer(None, entries, kept or [{}] * len(entries), document["version"])
    columns = question.columns(entries) | _warning_column(document, entries)
    handed = {name: part.column(name) for name in (kept or [{}])[0]}
    clash = next((name for name in handed if name in columns), None)
    if clash is not None:  # which in a table would be two columns of one name
        message = f"must not name a column of the answer; {clash!r} is one"
        raise ServiceError(422, f"keep: {message}", [{"loc": ["keep"], "msg": message}])
    return _Answer(frame_of(handed | columns, part), (), (), document["version"])


def get(path: str) -> Exchange[Any]:
    """Get a document."""
    return (yield Send("GET", path)).json()


def models() -> Exchange[list[dict[str, Any]]]:
    """List the models."""
    body = yield Send("GET", "/models")
    return list(body.json()["models"])


def model_path(name: str, *parts: str) -> str:
    """Return the path of a model's document."""
    return "/".join(["/models", *(quote(part, safe="") for part in (name, *parts))])


def prediction_columns(entries: Sequence[Any]) -> dict[str, list[Any]]:
    """Turn predictions, with intervals where they have them, into the columns that Arrow answers have."""
    columns: dict[str, list[Any]] = {}
    for entry in entries:
        for key, value in _prediction_cells(entry).items():
            columns.setdefault(key, []).append(value)
    return columns


def explanation_columns(entries: Sequence[Any]) -> dict[str, list[Any]]:
    """Turn explanations into the columns that Arrow answers have."""
    columns: dict[str, list[Any]] = {}
    for entry in entries:
        cells = _prediction_cells(entry["prediction"])
        cells |= {"score": entry["score"], "baseline": entry["baseline"]}
        cells |= {f"contributions.{term}": value for term, value in entry["contributions"].items()}
        cells |= {f"sensitivities.{name}": value for name, value in entry["sensitivities"].items()}
        errors = {f"standard_error.{term}": value for term, value in entry.get("standard_error", {}).items()}
        for key, value in {**cells, "gap": entry["gap"], **errors}.items():
            columns.setdefault(key, []).append(value)
    return columns


def reason_columns(entries: Sequence[Any]) -> dict[str, list[Any]]:
    """Turn reasons into columns: the decision, and a list of the reasons' texts."""
    columns = {key: [entry[key] for entry in entries] for key in ("adverse", "prediction", "distance", "withheld")}
    return {**columns, "reasons": [[reason["text"] for reason in entry["reasons"]] for entry in entries]}


def _is_tabular(options: Mapping[str, Any]) -> bool:
    """Return whether options can stand in a query."""
    return all(isinstance(value, str | int | float) for value in options.values())


def _entries(body: Mapping[str, Any], key: str) -> list[Any]:
    entries = list(body[key])
    if "intervals" in body:
        pairs = zip(entries, body["intervals"], strict=True)
        entries = [{"prediction": value, "low": low, "high": high} for value, (low, high) in pairs]
    return entries


def _kept(body: Mapping[str, Any], entries: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what was handed through with each row; of explanations and reasons each has its own."""
    return list(
        body.get("kept") or [entry["kept"] for entry in entries if isinstance(entry, Mapping) and "kept" in entry]
    )


def _with_kept(answers: Sequence[_Answer]) -> list[Any]:
    """Join entries, and where something was handed through add it to all of them, null where a row has none."""
    entries = [entry for answer in answers for entry in answer.entries]
    kept = [row for answer in answers for row in answer.kept]
    names = dict.fromkeys(name for row in kept for name in row)
    if not names:
        return entries
    return [
        {**_named(entry), "kept": {name: row.get(name) for name in names}}
        for entry, row in zip(entries, kept, strict=True)
    ]


def _named(prediction: Any) -> Mapping[str, Any]:
    return prediction if isinstance(prediction, Mapping) else {"prediction": prediction}


def _warning_column(body: Mapping[str, Any], entries: Sequence[Any]) -> dict[str, list[str]]:
    """Write each row's warnings as Arrow answers do: ``range fico by 12.5; unseen state``."""
    warnings = body.get("warnings", [entry.get("warnings") for entry in entries if isinstance(entry, Mapping)])
    if len(warnings) < len(entries) or None in warnings:
        return {}
    return {"warnings": ["; ".join(map(_warning, of_row)) for of_row in warnings]}


def _warning(warning: Mapping[str, Any]) -> str:
    feature = f" {warning['feature']}" if "feature" in warning else ""
    return f"{warning['kind']}{feature}" + (f" by {warning['by']!r}" if "by" in warning else "")


def _prediction_cells(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping) or "label" not in entry:
        return dict(_named(entry))
    return {"label": entry["label"], **{f"probabilities.{key}": p for key, p in entry["probabilities"].items()}}
