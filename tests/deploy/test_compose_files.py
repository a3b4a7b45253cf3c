"""docker-compose.yml and what it mounts: confined, documented, valid with and without each profile."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from eigenserve.app.engine.service import Service
from eigenserve.app.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    assert "privileged" not in service
    # Only the service itself, which may ask for keys, can be opened to the network.
    address = "${BIND:-127.0.0.1}:" if name == "server" else "127.0.0.1:"
    assert all(port.startswith(address) for port in service.get("ports", []))


def test_profiles_hold_what_they_say():
    by_profile = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert by_profile == {
        "fit": None,
        "server": None,
        "recorded": ["observability"],
        "gpu": ["gpu"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }
    (device,) = SERVICES["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_the_server_waits_for_its_model_and_has_time_to_drain():
    server = SERVICES["server"]
    assert server["depends_on"] == {"fit": {"condition": "service_completed_successfully"}}
    assert server["restart"] == "unless-stopped"
    assert server["volumes"] == ["models:/models:ro"]
    default = float(Settings.model_fields["drain_timeout_s"].default)
    assert int(server["stop_grace_period"].removesuffix("s")) > default
    assert server["environment"]["EIGENSERVE_DRAIN_TIMEOUT_S"] == f"${{EIGENSERVE_DRAIN_TIMEOUT_S:-{default:g}}}"


def test_the_server_takes_all_settings_but_where_things_are():
    server = SERVICES["server"]
    assert server["env_file"] == [{"path": ".env", "required": False}]
    fixed = {"EIGENSERVE_HOST": "0.0.0.0", "EIGENSERVE_PORT": "8000", "EIGENSERVE_STORE": "/models"}
    assert fixed.items() <= server["environment"].items()
    assert server["ports"][0].endswith(":8000")
    # What `environment` says counts, so it must let through what a setting of that name in .env says.
    for name, value in server["environment"].items():
        assert name in fixed or value.startswith(f"${{{name}:-"), name


def test_what_is_recorded_is_answered_by_an_image_that_can_record():
    server, recorded = SERVICES["server"], SERVICES["recorded"]
    assert recorded["build"]["target"] == "fit"
    assert re.search("^pyarrow==", (ROOT / "requirements/fit.txt").read_text(), flags=re.MULTILINE)
    assert recorded["environment"]["EIGENSERVE_RECORDS"] == "/records"
    assert server["environment"].items() <= recorded["environment"].items()
    # A named volume has the owner of the folder that it is mounted on.
    assert "records:/records" in recorded["volumes"]
    assert "mkdir /models /records && chown 10001:10001 /models /records" in DOCKERFILE


def test_the_gpu_may_load_what_triton_compiles():
    (tmpfs,) = SERVICES["gpu"]["tmpfs"]
    assert "exec" in tmpfs.split(":")[1].split(",")


def test_files_in_images_do_not_depend_on_the_umask_of_a_checkout():
    last = DOCKERFILE[DOCKERFILE.index(" AS base\n") :]
    copied = re.findall(r"^COPY (?!--from).*$", last, flags=re.MULTILINE)
    assert len(copied) == 5
    assert all(line.startswith("COPY --chmod=755 ") for line in copied)


def test_every_setting_is_in_the_example_with_its_default():
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert not re.findall(r"(?<!\$)\$\{\w+\}", TEXT), "a setting without a default"
    shown = dict(re.findall(r"^# (\w+)=(.*)$", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert shown == used
    known = {f"EIGENSERVE_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in used if name.startswith("EIGENSERVE_")} <= known


def test_every_target_is_in_the_dockerfile_and_serve_is_the_default():
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    assert {"serve", "fit", "train", "cuda", "sbom"} <= set(stages)
    assert stages[-1] == "serve"
    for service in SERVICES.values():
        if "build" in service:
            assert service["build"]["target"] in stages
    # What may be copied is what .dockerignore lets through.
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    for sources in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", DOCKERFILE, flags=re.MULTILINE):
        for source in sources.split():
            assert any(source == known or source.startswith(f"{known}/") for known in let_through), source
            assert (ROOT / source).exists()


@pytest.mark.parametrize("target", ["serve", "fit", "train", "cuda"])
def test_images_run_as_nobody_special(target: str):
    stage = re.search(rf"^FROM base AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, flags=re.MULTILINE | re.DOTALL)
    assert stage is not None
    assert "USER 10001:10001\n" in stage[1]
    assert 'ENTRYPOINT ["tini", "--", "eigenserve"' in stage[1]


def test_prometheus_and_grafana_find_what_they_show():
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert scrape[0]["static_configs"][0]["targets"] == ["server:8000", "recorded:8000"]
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (provider,) = yaml.safe_load((provisioning / "dashboards/eigenserve.yml").read_text())["providers"]
    mounts = SERVICES["grafana"]["volumes"]
    assert f"./deploy/grafana/eigenserve.json:{provider['options']['path']}/eigenserve.json:ro" in mounts
    for mount in [*mounts, *SERVICES["prometheus"]["volumes"]]:
        source_path = mount.split(":")[0]
        assert source_path in COMPOSE["volumes"] or (ROOT / source_path).exists(), mount
    dashboard = (ROOT / "deploy/grafana/eigenserve.json").read_text()
    shown = set(
        re.findall(r"\beigenserve_\w+", json.dumps([p.get("targets") for p in json.loads(dashboard)["panels"]]))
    )
    groups = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"]
    shown |= {
        name for group in groups for rule in group["rules"] for name in re.findall(r"\beigenserve_\w+", rule["expr"])
    }
    text = Service(Settings(store="nowhere")).metrics.text().decode()
    exported = set(re.findall(r"^# TYPE (\w+)", text, flags=re.MULTILINE))
    assert len(shown) > 10
    assert {re.sub("_bucket$", "", name) for name in shown} <= exported


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("profiles", [(), ("gpu",), ("observability",), ("gpu", "observability")])
def test_docker_compose_config_is_clean(profiles: tuple[str, ...]):
    try:
        if compose("version").returncode:
            pytest.skip("docker has no compose plugin")
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    chosen = [part for profile in profiles for part in ("--profile", profile)]
    done = compose("--env-file", ".env.example", *chosen, "config", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    wanted = {
        name for name, service in SERVICES.items() if set(service.get("profiles", profiles or [""])) & {*profiles, ""}
    }
    services = json.loads(done.stdout)["services"]
    assert set(services) == wanted | {"fit", "server"}
    assert services["server"]["environment"]["EIGENSERVE_STORE"] == "/models"


def test_without_an_engine_the_compose_test_says_that_it_is_skipped(tmp_path: Path):
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    script = ROOT / "tests/deploy/compose/run.sh"
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "SKIPPED: compose-test: docker is not installed\n")
    environment["COMPOSE_REQUIRED"] = "1"
    assert subprocess.run([script], env=environment, capture_output=True, check=False).returncode == 1
