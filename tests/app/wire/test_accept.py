"""Accept: weights, ranges and what a client gets that prefers nothing."""

from __future__ import annotations

import pytest

from eigenserve.app.problems import ProblemError
from eigenserve.app.wire.accept import accepted
from eigenserve.app.wire.bodies import ARROW, CSV, JSON

OFFERED = (JSON, CSV, ARROW)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", CSV),
        ("*/*", CSV),
        ("*", CSV),
        ("application/json", JSON),
        ("text/csv;q=0.1, application/json", JSON),
        ("application/json;q=0.2, text/csv;q=0.9", CSV),
        ("application/json;q=0.2, text/csv; q=0.1, */*;q=0.9", ARROW),
        ("*/*, text/csv;q=0", JSON),
        ("application/*;q=0.5, text/*;q=0.4", JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", CSV),
        ("text/csv, application/json", CSV),
        ("application/json, text/csv", JSON),
        ("application/json, */*", JSON),
        ("Application/JSON;Q=1.0;charset=utf-8", JSON),
        ("application/json;q=much", JSON),
        ("application/json;q=nan", JSON),
        (", ,application/json", JSON),
    ],
)
def test_the_greatest_weight_is_chosen(header: str, chosen: str):
    assert accepted(header, OFFERED, CSV) == chosen


@pytest.mark.parametrize("header", ["text/html", "application/json;q=0", "*/*;q=0", "image/*," * 1000])
def test_what_is_not_on_offer_is_406(header: str):
    with pytest.raises(ProblemError) as raised:
        accepted(header, OFFERED, JSON)
    assert raised.value.status == 406
    assert len(raised.value.detail) < 300
