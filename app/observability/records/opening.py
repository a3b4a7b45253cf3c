"""Open what the settings say that decisions are recorded in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eigenserve.errors import UserError

if TYPE_CHECKING:
    from eigenserve.app.observability.metrics import Metrics
    from eigenserve.app.observability.records.recorder import Recorder, Sink
    from eigenserve.app.settings import Settings


#: The routes whose answers are recorded, with the platform's own (``predict_route``).
ROUTES = (
    "/predict",
    "/explain",
    "/reasons",
    *(
        f"/v1/models/{{name}}{version}:{verb}"
        for version in ("", "/versions/{version}")
        for verb in ("predict", "explain")
    ),
    *(f"/v2/models/{{name}}{version}/infer" for version in ("", "/versions/{version}")),
    "/invocations",
)


def open_recorder(settings: Settings, metrics: Metrics) -> Recorder | None:
    """Return what records decisions; None where nothing does.

    Raises:
        UserError: a key or a URL of no use.
    """
    if not settings.records:
        return None
    _check(settings)
    # Imported late: it needs pyarrow, which costs 50 MB that other servers need not pay.
    from eigenserve.app.observability.records.chain import private_key
    from eigenserve.app.observability.records.events import EventsSink
    from eigenserve.app.observability.records.folder import open_folder
    from eigenserve.app.observability.records.parts import PartsSink
    from eigenserve.app.observability.records.recorder import Buffer, Recorder

    key = None if settings.records_key is None else private_key(settings.records_key)
    buffers = []
    for url in _urls(settings):
        events = _is_receiver(url)
        sink: Sink = (
            EventsSink(url, f"http://{settings.host}:{settings.port}/")
            if events
            else PartsSink(url, open_folder(url), key, settings.records_sample)
        )
        # Events are sent as soon as they are there: who receives them watches.
        rows, wait_s = (1, 0.0) if events else (settings.records_part_rows, settings.records_part_s)
        most, most_bytes = settings.records_buffer_rows, settings.records_buffer_mb * 2**20
        buffers.append(Buffer(sink, most, most_bytes, rows, wait_s, metrics))
    return Recorder(buffers, settings.records_when_full, settings.records_sample)


def check_records(settings: Settings) -> None:
    """Refuse settings by which nothing could be recorded, before anything is served.

    Raises:
        UserError: a key or a URL of no use.
    """
    if not settings.records:
        return
    _check(settings)
    from eigenserve.app.observability.records.chain import private_key
    from eigenserve.app.observability.records.folder import open_folder

    if settings.records_key is not None:
        private_key(settings.records_key)
    for url in _urls(settings):
        if not _is_receiver(url):
            open_folder(url)


def _check(settings: Settings) -> None:
    """Refuse what would record nothing, or another share than was meant."""
    # Imported late: commands that read records do without what a server needs.
    from eigenserve.app.settings import PREFIX

    if not _urls(settings):
        raise UserError(f"{PREFIX}RECORDS must name a folder or a URL; got {settings.records!r}")
    if settings.records_key is not None and all(map(_is_receiver, _urls(settings))):
        raise UserError(f"{PREFIX}RECORDS_KEY signs Parquet parts, and {PREFIX}RECORDS names no place for them")
    known = (*ROUTES, *([settings.predict_route] if settings.predict_route else []))
    for route in settings.records_sample:
        if route not in known:
            raise UserError(f"{PREFIX}RECORDS_SAMPLE: no route {route!r} is recorded; those are {', '.join(known)}")


def _urls(settings: Settings) -> list[str]:
    return [url for part in settings.records.split(",") if (url := part.strip())]


def _is_receiver(url: str) -> bool:
    return url.startswith(("http://", "https://"))
