"""Serve /docs and the OpenAPI schema without a request to any other host."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from eigenserve.app.problems import MEDIA_TYPE
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.wire.answers import to_json
from eigenserve.app.wire.bodies import JSON
from eigenserve.app.wire.downloads import Download, download_response
from eigenserve.app.wire.schemas.model_schema import prediction_schema, row_schema, typical_row
from eigenserve.app.wire.schemas.predictions import ProblemDetails

#: What the statuses of errors mean, wherever they occur.
MEANINGS = {
    400: "The body is not valid JSON, or not a valid request; `errors` says where",
    401: "No key, or a wrong one",
    403: "The key may not do this",
    404: "No such model or version, or it has no such file",
    406: "None of the media types in Accept can be given",
    408: "The body did not arrive in time",
    409: "The two versions cannot be compared",
    413: "The body or the number of rows is too large",
    415: "The media type, charset or encoding is not one of those accepted",
    422: "The body is not valid JSON, or not a valid request; `errors` says where",
    500: "The server made something that it must not hand out",
    501: "Needs a package that is not installed on this server",
    503: "Not ready, or overloaded; try again after the seconds in Retry-After",
    504: "No answer within the deadline",
}

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}


def problems(*statuses: int, media_type: str = MEDIA_TYPE) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route, for its ``responses``."""
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}}
    return {status: {"description": MEANINGS[status], "content": content} for status in sorted({401, *statuses})}


def download(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """Return the answers of a route that hands out a file, for its ``responses``."""
    etag = {"ETag": {"description": "The quoted sha256 of the file.", "schema": {"type": "string"}}}
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {
        200: {"description": description, "content": content, "headers": etag},
        304: {"description": "The client has this file: If-None-Match names its ETag", "headers": etag},
    }


def json_body(schema: type[BaseModel], *media_types: str) -> dict[str, Any]:
    """Return the request body of a route that reads it itself, for its ``openapi_extra``."""
    content = {"schema": _inline(schema.model_json_schema())}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": content, **{other: {} for other in media_types}},
        }
    }


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without references inside: those would point into a document it is only part of."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rsplit("/", 1)[1]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    return dict(resolve(schema))


def add_documentation(app: FastAPI, registry: ModelRegistry, prefix: str = "") -> None:
    """Serve /docs and its assets, and complete the schema: also by the rows of the models served now."""
    generate = app.openapi
    complete: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not complete:
            complete.update(_completed())
        return with_models(complete, registry.defaults())

    def _completed() -> dict[str, Any]:
        document = generate()
        if prefix:
            document["servers"] = [{"url": prefix}]
        schemas = document["components"]["schemas"]
        # Every error is a problem; FastAPI's own shape for a 422 is never sent.
        schemas[ProblemDetails.__name__] = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schemas[ProblemDetails.__name__].pop("$defs", {}))
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        for path in document["paths"].values():
            for operation in path.values():
                shapes = operation["responses"].get("422", {}).get("content", {})
                if "HTTPValidationError" in str(shapes.get("application/json")):
                    del operation["responses"]["422"]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    written: tuple[Any, Download | None] = (None, None)

    @app.get("/openapi.json", include_in_schema=False)
    async def schema(request: Request) -> Response:
        nonlocal written
        newest = [(name, served.version, served.digest) for name, served in registry.defaults().items()]
        if written[1] is None or written[0] != newest:
            # Of a model of a thousand features it has a megabyte.
            written = newest, await asyncio.to_thread(lambda: Download(to_json(app.openapi()), JSON))
        return download_response(request, cast(Download, written[1]))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url=f"{prefix}/openapi.json",
            title="Eigenserve",
            swagger_js_url=f"{prefix}/docs/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}/docs/swagger-ui.css",
            swagger_favicon_url=f"{prefix}/docs/favicon.png",
        )

    @app.get("/docs/{name}", include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404)
        return download_response(request, _asset(name))


@cache
def _asset(name: str) -> Download:
    return Download((files("fastapi_offline") / "static" / name).read_bytes(), _ASSETS[name])


def with_models(document: dict[str, Any], newest: Mapping[str, ServedModel]) -> dict[str, Any]:
    """Return an OpenAPI document that also describes rows and predictions of models, by name, and gives examples.

    Their schemas are ``NAME.Row`` and ``NAME.Prediction``. ``document`` stays as it is.
    """
    schemas = dict(document["components"]["schemas"])
    for name, served in newest.items():
        schemas[f"{name}.Row"] = row_schema(served)
        schemas[f"{name}.Prediction"] = prediction_schema(served)
    paths = {path: _with_rows(operations, newest) for path, operations in document["paths"].items()}
    return {**document, "components": {**document["components"], "schemas": schemas}, "paths": paths}


def _with_rows(operations: dict[str, Any], newest: Mapping[str, ServedModel]) -> dict[str, Any]:
    """Let the rows of a JSON request body be those of the models."""
    content = operations.get("post", {}).get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("schema", {})
    rows = body.get("properties", {}).get("instances", {})
    if not newest or rows.get("type") != "array":
        return operations
    known = [{"$ref": f"#/components/schemas/{name}.Row"} for name in newest]
    schema = {**body, "properties": {**body["properties"], "instances": {**rows, "items": _or(known, rows["items"])}}}
    described = {**content["application/json"], "schema": schema}
    if "model" in body["properties"] and set(body.get("required", ())) == {"instances"}:
        schema.pop("examples", None)
        described["examples"] = {
            name: {"value": {"model": name, "instances": [typical_row(served)]}} for name, served in newest.items()
        }
    request = {**operations["post"]["requestBody"], "content": {**content, "application/json": described}}
    return {**operations, "post": {**operations["post"], "requestBody": request}}


def _or(first: list[dict[str, Any]], rest: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*first, *rest.get("anyOf", [rest])]}
