"""Route the page: / for browsers, an index for other clients, and the page's own files."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from eigenserve import __version__
from eigenserve.app.problems import ProblemError
from eigenserve.app.wire.accept import accepted
from eigenserve.app.wire.answers import to_json
from eigenserve.app.wire.bodies import JSON
from eigenserve.app.wire.downloads import Download, download_response
from eigenserve.model.rows.moments import FILLERS, LAST_YEAR, MONTH_WORDS, ZONE_HOURS
from eigenserve.model.rows.readings import FALSE_TEXTS, MISSING_TEXTS, TRUE_TEXTS
from eigenserve.model.rows.spellings.number_parts import CURRENCIES, MAGNITUDES

INDEX = "index.html"
#: HTTP servers send no body where HEAD is asked.
_METHODS = ["GET", "HEAD"]
#: Media types that mean the page.
_PAGES = ("text/html", "application/xhtml+xml")
#: The one file of the page that is made, not read.
CELL_TEXTS = "cell_texts.js"
MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
#: The page has its scripts and styles in files of this server and asks no other host for anything. No text ever
#: becomes markup in it, which Trusted Types hold it to.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
}


def add_page(app: FastAPI, with_page: bool = True) -> None:
    """Serve / and, unless ``with_page`` is false, the page with its files under /page/."""
    assets = _assets() if with_page else {}

    @app.api_route("/", methods=_METHODS, include_in_schema=False)
    async def index(request: Request) -> Response:
        if assets and wants_page(request.headers.get("accept", "")):
            response = download_response(request, assets[INDEX], HEADERS)
        else:
            places = {"models": "/models", "docs": "/docs", "openapi": "/openapi.json"}
            response = Response(to_json({"name": "eigenserve", "version": __version__, **places}))
            response.headers["Content-Type"] = "application/json"
        response.headers["Vary"] = "Accept"
        return response

    @app.api_route("/page/{name:path}", methods=_METHODS, include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return download_response(request, assets[name], HEADERS)


def wants_page(accept: str) -> bool:
    """Return whether a client prefers HTML to JSON, as browsers do; of equal weights the one named first counts."""
    try:
        return accepted(accept, (JSON, *_PAGES), JSON) in _PAGES
    except ProblemError:
        return False


def _assets() -> dict[str, Download]:
    """Read every file of the page by its path, once: they are a third of a megabyte."""
    found = {CELL_TEXTS: Download(_cell_texts(), MEDIA_TYPES[".js"])}

    def take(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            suffix = entry.name[entry.name.rfind(".") :]
            if entry.is_dir():
                take(entry, f"{prefix}{entry.name}/")
            elif suffix in MEDIA_TYPES:
                found[prefix + entry.name] = Download(entry.read_bytes(), MEDIA_TYPES[suffix])

    take(files("eigenserve.app.page"), "")
    return found


def _cell_texts() -> bytes:
    """Write a module of the texts with a meaning, so that the page reads cells as the service does."""
    sets = {
        "MISSING_TEXTS": MISSING_TEXTS,
        "TRUE_TEXTS": TRUE_TEXTS,
        "FALSE_TEXTS": FALSE_TEXTS,
        "CURRENCIES": CURRENCIES,
        "FILLERS": frozenset(FILLERS),
    }
    lines = [f"export const {name} = new Set({json.dumps(sorted(texts))});" for name, texts in sets.items()]
    values = {"LAST_YEAR": LAST_YEAR, "MAGNITUDES": MAGNITUDES, "MONTH_WORDS": MONTH_WORDS, "ZONE_HOURS": ZONE_HOURS}
    lines += [f"export const {name} = {json.dumps(value)};" for name, value in values.items()]
    return "\n".join([*lines, ""]).encode()
