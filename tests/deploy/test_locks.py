"""requirements/: every dependency pinned and hashed, and what pyproject.toml asks for is what is locked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {path.stem: path for path in sorted((ROOT / "requirements").glob("*.txt"))}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.11", "3.12", "3.13")
#: Which extras of the project a lock is for.
EXTRAS: dict[str, tuple[str, ...]] = {
    "serve": ("serve", "store", "otel"),
    "fit": ("serve", "store", "otel", "fit", "score"),
    "train": ("serve", "store", "otel", "fit", "score", "torch", "train"),
    "peers": ("serve", "store", "otel", "arrow"),
}


def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """The requirements of a lock, each with its hashes."""
    text = re.sub(r"^\s*#.*$", "", LOCKS[name].read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in filter(str.strip, text.splitlines()):
        requirement, *hashes = line.split("--hash=")
        found.append((Requirement(requirement), [digest.strip() for digest in hashes]))
    return found


def installed(name: str, python: str, machine: str = "x86_64") -> dict[str, str]:
    """Package -> version that pip installs from a lock."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.7",
        "sys_platform": "linux",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    found: dict[str, str] = {}
    for requirement, _ in entries(name):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            key = canonicalize_name(requirement.name)
            assert key not in found, f"{key} twice for Python {python}"
            (only,) = requirement.specifier
            found[key] = only.version
    return found


def test_all_locks_are_there():
    assert set(LOCKS) == {"serve", "fit", "train", "torch-cpu", "build", "sbom", "peers"}


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_pinned_and_hashed_and_no_host_is_named(name: str):
    assert len(entries(name)) >= 1
    for requirement, hashes in entries(name):
        (only,) = requirement.specifier
        assert only.operator == "==", requirement
        assert requirement.url is None
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), requirement
    assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|/opt/|/home/", LOCKS[name].read_text())


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_satisfies_the_project(name: str, python: str):
    locked = installed(name, python)
    wanted = list(PROJECT["dependencies"])
    for extra in EXTRAS[name]:
        wanted += PROJECT["optional-dependencies"][extra]
    for text in wanted:
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) == PROJECT["name"]:
            assert requirement.extras <= set(EXTRAS[name])
            continue
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), (text, version)
        if requirement.extras:  # uvicorn[standard]
            assert {"uvloop", "httptools"} <= locked.keys()


def test_a_smaller_lock_is_part_of_a_larger_one():
    for python in PYTHONS:
        serve, fit, train = (installed(name, python).items() for name in ("serve", "fit", "train"))
        assert serve <= fit <= train


def test_serving_has_neither_torch_nor_what_only_training_needs():
    for python in PYTHONS:
        assert not installed("serve", python).keys() & {"torch", "scipy", "pandas", "pyarrow", "triton"}
        assert "torch" not in installed("fit", python)
        assert {"torch", "triton"} <= installed("train", python).keys()


def test_pytorch_for_cpus_is_the_version_that_the_project_pins():
    (torch,) = [Requirement(text) for text in PROJECT["optional-dependencies"]["torch"] if text.startswith("torch")]
    locked = installed("torch-cpu", "3.11")["torch"]
    assert locked.endswith("+cpu")
    assert torch.specifier.contains(locked)
    both = installed("torch-cpu", "3.11").keys() & installed("train", "3.11").keys() - {"torch"}
    assert {key: installed("torch-cpu", "3.11")[key] for key in both} == {
        key: installed("train", "3.11")[key] for key in both
    }


def test_the_dockerfile_installs_nothing_unhashed():
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install [^&\n]*", text)
    assert len(installs) >= 7
    for install in installs:
        assert "--require-hashes" in install or "--no-deps --no-index /wheels" in install, install
    for name in re.findall(r"requirements/([\w-]+)\.txt", text):
        assert name in LOCKS
