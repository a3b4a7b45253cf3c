"""The manifests of deploy/kubernetes and deploy/kserve: valid by the published schemas, and true of the service."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from eigenserve.app.application import create_app
from eigenserve.app.observability.metrics import Metrics
from eigenserve.app.settings import Settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
KSERVE = ROOT / "deploy/kserve"
#: The oldest Kubernetes that its makers have lately supported, and what is newest in the package of schemas.
OLDEST = "1.32"

Document = dict[str, Any]


def documents(folder: Path) -> list[Document]:
    """The resources that a folder's kustomization lists, as they are written."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    found: list[Document] = []
    for name in listed:
        place = folder / name
        found += documents(place) if place.is_dir() else list(yaml.safe_load_all(place.read_text()))
    return found


def one(kind: str, found: list[Document]) -> Document:
    (document,) = [d for d in found if d["kind"] == kind]
    return document


@pytest.fixture(scope="module")
def base() -> list[Document]:
    return documents(KUBERNETES / "base")


def container(document: Document) -> Document:
    (found,) = document["spec"]["template"]["spec"]["containers"]
    return found


def test_every_file_is_listed_in_its_kustomization():
    apart = {"kustomization.yaml"}
    for folder in (KUBERNETES / "base", KUBERNETES / "demo", KSERVE):
        listed = set(yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]) - {"../base"}
        assert {path.name for path in folder.glob("*.yaml")} - apart == listed


@pytest.mark.parametrize("folder", ["base", "demo"])
def test_kubernetes_manifests_are_valid(folder: str):
    validator = pytest.importorskip("kubernetes_validate")
    found = documents(KUBERNETES / folder)
    assert len(found) >= 6
    for document in found:
        for version in (OLDEST, validator.latest_version()):
            validator.validate(document, version, strict=True)
    broken = one("Deployment", found)
    container(broken)["readinessprobe"] = {}
    with pytest.raises(validator.ValidationError):
        validator.validate(broken, OLDEST, strict=True)


@pytest.mark.parametrize("folder", ["kubernetes/base", "kubernetes/demo", "kserve", "kserve-explainer", "kserve-oci"])
def test_kustomize_builds(folder: str):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    made = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "deploy" / folder)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    images = re.findall(r"image: (\S+)", made.stdout)
    assert images
    assert all(re.fullmatch(r"eigenserve(-fit)?:[\d.]+", image) for image in images)
    if folder.startswith("kserve"):
        return
    validator = pytest.importorskip("kubernetes_validate")
    found = list(yaml.safe_load_all(made.stdout))
    for document in found:
        validator.validate(document, OLDEST, strict=True)
    pods = one("Deployment", found)["spec"]["template"]["metadata"]["labels"]
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = one(kind, found)["spec"]
        selector = spec.get("selector") or spec["podSelector"]
        assert (selector.get("matchLabels") or selector).items() <= pods.items(), kind


def served_paths() -> set[str]:
    return set(create_app(Settings()).openapi()["paths"])


def test_probes_ask_what_the_service_answers(base: list[Document]):
    server = container(one("Deployment", base))
    (port,) = server["ports"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = server[probe]["httpGet"]
        assert asked["path"] in served_paths(), probe
        assert asked["port"] == port["name"]
    runtime = one("ServingRuntime", documents(KSERVE))
    (served,) = runtime["spec"]["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert served[probe]["httpGet"]["path"] in served_paths(), probe
    assert runtime["spec"]["annotations"]["prometheus.kserve.io/path"] in served_paths()


def test_the_settings_are_settings(base: list[Document]):
    kustomization = yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())
    names = [text.split("=")[0] for text in kustomization["configMapGenerator"][0]["literals"]]
    (runtime,) = one("ServingRuntime", documents(KSERVE))["spec"]["containers"]
    names += [variable["name"] for variable in runtime["env"]]
    known = {f"EIGENSERVE_{name.upper()}" for name in Settings.model_fields}
    assert set(names) <= known
    assert len(names) == 7


def test_a_pod_has_time_to_drain(base: list[Document]):
    pod = one("Deployment", base)["spec"]["template"]["spec"]
    waits = int(container(one("Deployment", base))["lifecycle"]["preStop"]["exec"]["command"][1])
    kustomization = yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())
    literals = dict(text.split("=") for text in kustomization["configMapGenerator"][0]["literals"])
    assert pod["terminationGracePeriodSeconds"] > waits + float(literals["EIGENSERVE_DRAIN_TIMEOUT_S"])


def test_the_autoscaler_asks_for_what_every_cluster_has(base: list[Document]):
    scaler = one("HorizontalPodAutoscaler", base)["spec"]
    # With a metric that cannot be had, it would never scale down.
    assert [metric["type"] for metric in scaler["metrics"]] == ["Resource"]
    deployment = one("Deployment", base)
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]


def test_the_component_adds_a_metric_that_there_is(base: list[Document]):
    component = yaml.safe_load((KUBERNETES / "queue-metric/kustomization.yaml").read_text())
    ((target, patch),) = [(found["target"], yaml.safe_load(found["patch"])) for found in component["patches"]]
    scaler = one("HorizontalPodAutoscaler", base)
    assert (target["kind"], target["name"]) == (scaler["kind"], scaler["metadata"]["name"])
    ((op, path, added),) = [(step["op"], step["path"], step["value"]) for step in patch]
    assert (op, path) == ("add", "/spec/metrics/-")
    scaler["spec"]["metrics"].append(added)
    name = added["pods"]["metric"]["name"]
    assert f"\n{name} " in Metrics().text().decode()
    assert int(added["pods"]["target"]["averageValue"]) < Settings().max_queue_rows
    adapter = yaml.safe_load((KUBERNETES / "queue-metric/prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    assert f'"{name}"' in rule["seriesQuery"]
    assert re.fullmatch(rule["name"]["matches"], name)
    assert rule["name"]["as"] == name
    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(scaler, OLDEST, strict=True)


def test_kustomize_adds_the_component(tmp_path: Path):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    chosen = tmp_path / "kubernetes/base/kustomization.yaml"
    chosen.write_text(chosen.read_text() + "components: [../queue-metric]\n")
    made = subprocess.run(["kubectl", "kustomize", chosen.parent], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    metrics = one("HorizontalPodAutoscaler", list(yaml.safe_load_all(made.stdout)))["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Resource", "Pods"]


@pytest.mark.parametrize("folder", ["kubernetes/base", "kubernetes/demo", "kserve"])
def test_one_step_names_every_image(folder: str):
    kustomization = yaml.safe_load((ROOT / "deploy" / folder / "kustomization.yaml").read_text())
    own = [ROOT / "deploy" / folder / name for name in kustomization["resources"] if name.endswith(".yaml")]
    used = set(re.findall(r"image: (\S+)", "".join(path.read_text() for path in own)))
    assert used == {image["name"] for image in kustomization["images"]}
    docs = (ROOT / "docs/deployment.md").read_text()
    assert f"deploy/{folder}" in re.search(r"```sh\nREGISTRY=.*?```", docs, flags=re.DOTALL)[0]


def test_the_demo_trains_once(tmp_path: Path):
    fit = container(one("Job", documents(KUBERNETES / "demo")))
    assert fit["command"] == ["tini", "--", "/bin/sh", "-c"]
    (script,) = fit["args"]
    # The same as docker-compose.yml does, where $ is written twice.
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["fit"]
    assert compose["command"] == [script.replace("$", "$$")]
    (tmp_path / "eigenserve").write_text("#!/bin/sh\necho trains\n")
    (tmp_path / "eigenserve").chmod(0o755)
    models = tmp_path / "models"
    for there, says in ((None, "trains\n"), ("housing", "trains\n"), ("housing/1", "")):
        if there is not None:
            (models / there).mkdir(parents=True)
        done = subprocess.run(
            ["/bin/sh", "-c", script.replace("/models/", f"{models}/")],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, says)


def test_a_kserve_pod_has_time_to_drain():
    predictor = one("InferenceService", documents(KSERVE))["spec"]["predictor"]
    assert predictor["terminationGracePeriodSeconds"] > Settings().drain_timeout_s


@pytest.mark.parametrize("where", ["server", "job", "kserve"])
def test_containers_are_confined(base: list[Document], where: str):
    if where == "kserve":
        (found,) = one("ServingRuntime", documents(KSERVE))["spec"]["containers"]
        pod = found["securityContext"]
    else:
        document = one("Deployment", base) if where == "server" else one("Job", documents(KUBERNETES / "demo"))
        found = container(document)
        pod = document["spec"]["template"]["spec"]["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"]) == (True, 10001)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    own = found["securityContext"]
    assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert found["resources"]["limits"]["memory"]
    assert "tmp" in {mount["name"] for mount in found["volumeMounts"]}


def test_kserve_clients_find_the_model_by_the_services_name():
    service = one("InferenceService", documents(KSERVE))
    model = service["spec"]["predictor"]["model"]
    runtime = one("ServingRuntime", documents(KSERVE))["spec"]
    assert model["modelFormat"]["name"] in {known["name"] for known in runtime["supportedModelFormats"]}
    assert model["protocolVersion"] in runtime["protocolVersions"]
    assert {"/v1/models/{name}:predict", "/v2/models/{name}/infer"} <= {
        re.sub(r"{[^}]*}", "{name}", path) for path in served_paths()
    }


@cache
def kserve_class(name: str) -> Any:
    """A class of KServe's own client, which its CRDs' schema generates, or of Kubernetes' for what is its."""
    if "kserve" not in sys.modules:
        # The package imports a whole server; its models need none of it.
        spec = importlib.util.find_spec("kserve")
        assert spec is not None
        shell = types.ModuleType("kserve")
        shell.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["kserve"] = shell
    models = importlib.import_module("kserve.models")
    if hasattr(models, name):
        return getattr(models, name)
    return getattr(importlib.import_module("kubernetes.client"), re.sub("^K8sIoApi[A-Za-z]*?V1", "V1", name))


def built(value: Any, type_name: str, loc: str) -> Any:
    """A value as its class, which refuses unknown and missing fields; AssertionError says where it is wrong."""
    if (inner := re.fullmatch(r"[Ll]ist\[(.*)\]", type_name)) is not None:
        assert isinstance(value, list), f"{loc}: no list"
        return [built(item, inner[1], f"{loc}[{i}]") for i, item in enumerate(value)]
    if (inner := re.fullmatch(r"[Dd]ict[([]str, (.*)[])]", type_name)) is not None:
        assert isinstance(value, dict), f"{loc}: no object"
        return {key: built(item, inner[1], f"{loc}.{key}") for key, item in value.items()}
    simple = {"str": str, "int": int, "bool": bool, "float": float, "object": object}.get(type_name)
    if simple is not None:
        assert isinstance(value, simple), f"{loc}: {value!r} is no {type_name}"
        return value
    kind = kserve_class(type_name)
    assert isinstance(value, dict), f"{loc}: no object"
    names = {key: attribute for attribute, key in kind.attribute_map.items()}
    assert value.keys() <= names.keys(), f"{loc}: unknown {value.keys() - names.keys()}"
    attributes = {
        names[key]: built(item, kind.openapi_types[names[key]], f"{loc}.{key}") for key, item in value.items()
    }
    return kind(**attributes)


def patched(path: str) -> Document:
    """The InferenceService as a patch changes it."""

    def merged(value: Any, change: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(change, dict):
            return change
        return {**value, **{key: merged(value.get(key), inner) for key, inner in change.items()}}

    service = one("InferenceService", documents(KSERVE))
    patch = yaml.safe_load((ROOT / "deploy" / path).read_text())
    assert (patch["kind"], patch["metadata"]) == (service["kind"], service["metadata"])
    return dict(merged(service, patch))


def test_models_in_an_image_are_where_kserve_and_the_runtime_look_for_them():
    model = patched("kserve-oci/models.yaml")["spec"]["predictor"]["model"]
    assert model["storageUri"].startswith("oci://")
    assert (model["runtime"], model["modelFormat"]["name"]) == ("eigenserve", "eigenserve")
    made = (ROOT / "deploy/kserve-oci/Dockerfile").read_text()
    # KServe shows /models of the image as /mnt/models, to processes of the same user alone.
    assert re.search("^COPY .* /models$", made, flags=re.MULTILINE)
    (runtime,) = one("ServingRuntime", documents(KSERVE))["spec"]["containers"]
    user = runtime["securityContext"]["runAsUser"]
    assert f"USER {user}:" in made
    assert f'"uidModelcar": {user}' in (ROOT / "deploy/kserve-oci/models.yaml").read_text()
    assert {"name": "EIGENSERVE_STORE", "value": "/mnt/models"} in runtime["env"]


def test_the_explainer_is_the_runtimes_container_on_the_same_store():
    spec = patched("kserve-explainer/explainer.yaml")["spec"]
    (explainer,) = spec["explainer"]["containers"]
    (runtime,) = one("ServingRuntime", documents(KSERVE))["spec"]["containers"]
    for key in ("name", "image", "args", "ports", "resources", "securityContext", "volumeMounts"):
        assert explainer[key] == runtime[key], key
    storage = {"name": "STORAGE_URI", "value": spec["predictor"]["model"]["storageUri"]}
    assert explainer["env"] == [storage, *runtime["env"]]
    for probe in ("readinessProbe", "livenessProbe"):
        assert explainer[probe]["httpGet"]["path"] in served_paths(), probe
    assert spec["explainer"]["terminationGracePeriodSeconds"] > Settings().drain_timeout_s
    assert "/v1/models/{name}:explain" in {re.sub(r"{[^}]*}", "{name}", path) for path in served_paths()}


def test_kserve_manifests_are_valid():
    if importlib.util.find_spec("kserve") is None or importlib.util.find_spec("kubernetes") is None:
        pytest.skip("kserve and kubernetes, whose classes say what is valid, are not installed")
    kinds = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}
    for document in documents(KSERVE):
        name = kinds[document["kind"]]
        assert document["apiVersion"] == f"serving.kserve.io/{name[: -len(document['kind'])].lower()}"
        built(document, name, document["kind"])
    for patch in ("kserve-explainer/explainer.yaml", "kserve-oci/models.yaml"):
        built(patched(patch), kinds["InferenceService"], "InferenceService")
    broken = one("InferenceService", documents(KSERVE))
    broken["spec"]["predictor"]["model"]["modelformat"] = {}
    with pytest.raises(AssertionError, match="unknown"):
        built(broken, kinds["InferenceService"], "")
    del broken["spec"]["predictor"]["model"]["modelformat"]
    del broken["spec"]["predictor"]["model"]["modelFormat"]["name"]
    broken["spec"]["predictor"]["model"]["modelFormat"]["name"] = 3
    with pytest.raises(AssertionError, match="no str"):
        built(broken, kinds["InferenceService"], "")
