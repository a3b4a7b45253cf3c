"""The alert rules, by Prometheus' own tools: they are valid, and fire when a drift lasts."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.drifting import like_training, sketched_model
from tests.support.server_process import free_port, running_server

from eigenserve.app.observability.drift import DriftMonitor
from eigenserve.app.observability.drift.exposition import DriftCollector
from eigenserve.app.registry.served import ServedModel
from eigenserve.model import ModelStore
from eigenserve.model.monitoring import Counting, read_sketch

RULES = Path(__file__).parents[2] / "deploy/prometheus/rules.yml"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMETHEUS is None or PROMTOOL is None, reason="Prometheus is not installed")

_RMSE, _PARTS = {"metric": "rmse"}, {"instance": "i", "sink": "parts"}


def promtool(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(
        [str(PROMTOOL), *arguments], input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_valid():
    assert "5 rules found" in promtool("check", "rules", str(RULES))


def test_the_gauges_are_well_formed():
    model = sketched_model()
    served = ServedModel("price", 1, model, "digest", Counting(model, read_sketch(model, model.card)))
    monitor = DriftMonitor(True, recent_rows=2000, level=0.001, outcome_rows=10)
    columns = model.features.encode(like_training(300, seed=1))
    monitor.note(served, columns, model.scores(columns))
    monitor.tick([served])
    registry = CollectorRegistry()
    registry.register(DriftCollector(monitor, lambda: [served]))
    text = generate_latest(registry).decode()
    assert 'eigenserve_drift_rows{model="price",version="1",window="recent"} 300.0' in text
    promtool("check", "metrics", given=text)


@pytest.mark.parametrize(
    ("alert", "series", "minutes", "labels"),
    [
        (
            "EigenserveDrift",
            'eigenserve_drift_alarm{model="m",version="1",window="recent",kind="feature",name="x"}',
            5,
            {"kind": "feature", "name": "x"},
        ),
        (
            "EigenserveDriftOfTheDay",
            'eigenserve_drift_alarm{model="m",version="1",window="day",kind="contribution",name="x"}',
            60,
            {"kind": "contribution", "name": "x"},
        ),
        ("EigenserveAccuracy", 'eigenserve_outcomes_beyond{model="m",version="1",metric="rmse"}', 5, _RMSE),
        ("EigenserveRecordsStuck", 'eigenserve_records_waiting{instance="i",sink="parts"}', 5, _PARTS),
    ],
)
def test_an_alert_fires_when_the_alarm_lasts(tmp_path: Path, alert: str, series: str, minutes: int, labels: dict):
    groups = yaml.safe_load(RULES.read_text())["groups"]
    (rule,) = (rule for group in groups for rule in group["rules"] if rule["alert"] == alert)
    if labels is not _PARTS:
        labels = {"model": "m", "version": "1", **labels}

    def fill(text: str) -> str:
        for name, value in labels.items():
            text = text.replace(f"{{{{ $labels.{name} }}}}", value)
        return text

    firing = {
        "exp_labels": {**labels, "severity": rule["labels"]["severity"]},
        "exp_annotations": {name: fill(text) for name, text in rule["annotations"].items()},
    }
    case = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": "0x9 1x100"}],
                "alert_rule_test": [
                    {"eval_time": "9m", "alertname": alert, "exp_alerts": []},
                    {"eval_time": f"{9 + minutes}m", "alertname": alert, "exp_alerts": []},
                    {"eval_time": f"{11 + minutes}m", "alertname": alert, "exp_alerts": [firing]},
                ],
            }
        ],
    }
    (tmp_path / "case.yml").write_text(yaml.safe_dump(case))
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "case.yml"))


@contextmanager
def running_prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """Prometheus with the profile's own files, but for the target and for how often it asks."""
    files = RULES.parent
    config = yaml.safe_load((files / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    config["rule_files"] = [str(files / name) for name in config["rule_files"]]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        str(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10.0) as client:
            yield client
    finally:
        process.terminate()
        process.wait(20)


def test_prometheus_reads_what_the_dashboard_shows_and_the_rules_warn_of(tmp_path: Path):
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    store = ModelStore(tmp_path / "store")
    store.save("price", sketched_model())
    settings = {"EIGENSERVE_RECORDS": str(tmp_path / "records"), "EIGENSERVE_RECORDS_PART_ROWS": "1"}
    with (
        running_server(store.root, tmp_path / "server.log", **settings) as server,
        running_prometheus(tmp_path, f"127.0.0.1:{server.port}") as prometheus,
    ):

        def ask(expression: str) -> list[dict]:
            try:
                answer = prometheus.get("/query", params={"query": expression})
            except httpx.TransportError:
                return []
            if answer.status_code == 503:  # it begins
                return []
            assert answer.status_code == 200, (expression, answer.text)
            return list(answer.json()["data"]["result"])

        def wait_for(expression: str) -> None:
            ends = time.monotonic() + 30.0
            while not ask(expression):
                assert time.monotonic() < ends, f"no series: {expression}"
                time.sleep(0.2)

        rows = [{**row, "rate": 9.0} for row in like_training(600, seed=3)]
        wait_for("up == 1")
        for _ in range(2):
            assert server.client.post("/predict", json={"instances": rows}).status_code == 200
        assert server.client.post("/predict", json={"instances": [{"unknown": 1}]}).status_code == 422
        # One feature has moved, all of it: that is drift, and the rule waits for it to last.
        wait_for('ALERTS{alertname="EigenserveDrift", name="rate", alertstate="pending"}')
        wait_for("eigenserve_records_written_total == 1200")
        assert server.client.post("/predict", json={"instances": rows * 20}).status_code == 200  # not on the event loop
        wait_for("eigenserve_queue_wait_seconds_count > 0")
        shown = json.loads((RULES.parents[1] / "grafana/eigenserve.json").read_text())["panels"]
        for panel in shown:
            for target in panel["targets"]:
                wait_for(target["expr"].replace("$__rate_interval", "1m"))
        groups = prometheus.get("/rules").json()["data"]["groups"]
        assert {(rule["name"], rule["health"]) for group in groups for rule in group["rules"]} == {
            (rule["alert"], "ok") for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
        }
