"""Read a request's query, in which a parameter may come several times."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Request

from eigenserve.app.problems import invalid

#: Parameters that are lists of names.
JOINED = frozenset({"keep", "strict"})


def query_options(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Read a query. Lists of names may be given in several parameters, which are joined; others only once.

    Raises:
        ProblemError: 422 a parameter that is given more than once.
    """
    query: dict[str, str] = {}
    for name, text in pairs:
        if name in query and name not in JOINED:
            raise invalid((name,), "must be given once in a query; got it twice or more")
        query[name] = f"{query[name]},{text}" if name in query else text
    return query


def check_query(request: Request) -> None:
    """Refuse a query that gives a parameter of its route more than once; raises as ``query_options``."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    query_options(pair for pair in request.query_params.multi_items() if pair[0] in known)
