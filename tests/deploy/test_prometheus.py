"""The alert rules, by Prometheus' own tools: they are valid, and fire when a drift lasts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.drifting import like_training, sketched_model

from eigenserve.app.observability.drift import DriftMonitor
from eigenserve.app.observability.drift.exposition import DriftCollector
from eigenserve.app.registry.served import ServedModel
from eigenserve.model.monitoring import Counting, read_sketch

RULES = Path(__file__).parents[2] / "deploy/prometheus/rules.yml"
PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus")

_RMSE = {"metric": "rmse"}


def promtool(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(
        [str(PROMTOOL), *arguments], input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_valid():
    assert "3 rules found" in promtool("check", "rules", str(RULES))


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
    ],
)
def test_an_alert_fires_when_the_alarm_lasts(tmp_path: Path, alert: str, series: str, minutes: int, labels: dict):
    (rule,) = (
        rule for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"] if rule["alert"] == alert
    )  # fmt: skip
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
