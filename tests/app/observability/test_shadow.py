"""Shadow, canary and promotion, with one worker and with two."""

from __future__ import annotations

import html
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from pydantic import ValidationError
from tests.support.drifting import like_training
from tests.support.made_models import make_model
from tests.support.server_process import ServerProcess, running_server

from eigenserve.app.keys.grants import scope_of
from eigenserve.app.registry.routing import Canary, Routing, missing_versions
from eigenserve.app.settings import Settings
from eigenserve.model import ModelStore
from eigenserve.model.matrices.curves import CurveSet, Term
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.model.spectral import SpectralModel

pytestmark = pytest.mark.alone


def without_rate() -> SpectralModel:
    """The model of the first version, trained, as it were, without its last feature."""
    model = make_model(seed=1)
    kept = [c for c, curve in enumerate(model.ensemble.pencil.curves.curves) if 4 not in curve.numeric]
    curves, pencil = model.ensemble.pencil.curves, model.ensemble.pencil
    names = [pencil.terms[curves.curves[c].term] for c in kept]
    rows = [i for c in kept for i in range(curves.offsets[c], curves.offsets[c + 1])]
    terms = tuple(Term(term.name, term.features) for term in names)
    moved = tuple(replace(curves.curves[c], term=i) for i, c in enumerate(kept))
    smaller = replace(
        pencil, terms=terms, curves=CurveSet(moved), diag=pencil.diag[rows], off_diag=pencil.off_diag[rows]
    )
    features = FeatureSpace(model.features.features[:4])
    return SpectralModel("regression", "target", features, replace(model.ensemble, pencil=smaller), (), model.card)


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store = ModelStore(tmp_path_factory.mktemp("store"))
    store.save("price", make_model(seed=1))
    store.save("price", without_rate())
    for seed in (1, 2, 3):
        store.save("level", make_model(seed=seed))
    log = tmp_path_factory.mktemp("log") / "server.log"
    settings = {"EIGENSERVE_SHADOW": "price:2", "EIGENSERVE_CANARY": "level:3:0.25"}
    with running_server(store.root, log, EIGENSERVE_WORKERS=str(request.param), **settings) as running:
        yield running
        assert "Traceback" not in running.log_text()


def ask(server: ServerProcess, name: str, rows: list | None = None) -> httpx.Response:
    with httpx.Client(base_url=server.url, timeout=30.0) as client:  # a connection each: workers take turns
        return client.post("/predict", json={"model": name, "instances": rows or [{}]})


def test_a_shadow_runs_along_and_names_the_feature_that_it_lacks(server: ServerProcess):
    rows = like_training(600, seed=5)
    assert server.client.get("/models/price/shadow").status_code == 404
    for start in range(0, 600, 20):
        answer = ask(server, "price", rows[start : start + 20])
        assert answer.json()["version"] == "1"  # the newest would be the shadow
    deadline = time.monotonic() + 20.0
    while (report := server.client.get("/models/price/shadow").json()).get("rows") != 600:
        assert time.monotonic() < deadline, report
        time.sleep(1.0)
    assert (report["version"], report["shadow"]) == ("1", "2")
    assert report["only_first"] == ["rate"]
    assert 0.0 < report["changed_sides"] < 1.0
    assert sum(report["sides"]) == 600
    for accept, media_type in (("text/html,*/*;q=0.8", "text/html"), ("text/markdown", "text/markdown")):
        page = server.client.get("/models/price/shadow", headers={"Accept": accept})
        assert page.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert "price/2 was trained without 'rate'" in html.unescape(page.text)
    assert server.client.get("/models/price/shadow", headers={"Accept": "image/png"}).status_code == 406


def test_a_canary_answers_its_share(server: ServerProcess):
    answered = Counter(ask(server, "level").json()["version"] for _ in range(200))
    assert set(answered) == {"2", "3"}
    assert 20 <= answered["3"] <= 85  # 50 expected; five deviations


def test_a_promoted_version_answers_in_all_workers_at_once_and_is_rolled_back(server: ServerProcess):
    for wanted, expected in (("2", "2"), (1, "1"), (None, "1")):
        answer = server.client.post("/models/price/promote", json={"version": wanted})
        assert (answer.status_code, answer.json()) == (
            200,
            {"model": "price", "version": expected, "ended_canary": None},
        )
        assert {ask(server, "price").json()["version"] for _ in range(20)} == {expected}
        listed = {model["name"]: model["version"] for model in server.client.get("/models").json()["models"]}
        assert listed["price"] == expected


def test_promotion_and_rollback_end_a_canary_and_answer_what_holds_from_then_on(server: ServerProcess):
    """Runs behind the canary's own test: it ends the canary."""
    ended: str | None = "3"
    for wanted, expected in ((1, "1"), (None, "2"), (3, "3"), (None, "2")):
        answer = server.client.post("/models/level/promote", json={"version": wanted})
        assert answer.json() == {"model": "level", "version": expected, "ended_canary": ended}
        assert {ask(server, "level").json()["version"] for _ in range(30)} == {expected}
        ended = None


def test_a_version_that_is_none_is_named_in_one_sentence(server: ServerProcess):
    detail = server.client.post("/models/price/promote", json={"version": 1.0}).json()["detail"]
    assert detail == "version: must be a text or a whole number; got 1.0"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models/price/promote", {"version": 9}, 404),
        ("/models/nothing/promote", {"version": None}, 404),
        ("/models/price/promote", {}, 422),
        ("/models/price/promote", {"version": [1]}, 422),
    ],
)
def test_what_cannot_be_promoted_is_refused(server: ServerProcess, path: str, body: dict, status: int):
    assert server.client.post(path, json=body).status_code == status


def test_the_default_is_promoted_or_the_newest_that_is_not_tried_out():
    routing = Routing({"a": 3}, {"b": Canary(2, 0.0), "c": Canary(2, 1.0)})
    assert routing.default("a", [1, 2, 3]) == 2
    assert routing.default("a", [3]) == 3
    assert routing.default("a", [1, 2, 3], promoted=3) == 3
    assert routing.default("a", [1, 2, 3], promoted=9) == 2
    assert routing.choose("b", [1, 2], {}) == 1
    assert routing.choose("c", [1, 2], {}) == 2
    assert routing.choose("c", [1, 2], {"c": 1}) == 1
    assert routing.choose("c", [1, 2], {"c": None}) == 1
    assert routing.default("d", [1, 2]) == 2


def test_settings_whose_version_is_not_there_are_named():
    routing = Routing({"a": 3}, {"b": Canary(2, 0.5)})
    assert missing_versions(routing, {"a": [1, 3], "b": [1, 2]}) == []
    shadow, canary = missing_versions(routing, {"b": [1]})
    assert "EIGENSERVE_SHADOW names version 3 of model 'a', which is not served" in shadow
    assert "EIGENSERVE_CANARY names version 2 of model 'b'" in canary


def test_promoting_needs_an_admin_key():
    assert scope_of("/models/price/promote") == "admin"
    assert scope_of("/models/price/shadow") == "predict"


@pytest.mark.parametrize(
    ("name", "value"),
    [("shadow", "price"), ("shadow", "price:0"), ("canary", "price:2"), ("canary", "price:2:1.5"), ("canary", "x:2:.")],
)
def test_settings_that_name_no_version_are_refused(name: str, value: str):
    with pytest.raises(ValidationError):
        Settings(**{name: value})
