"""Imports run one way, app -> model <- training, without cycles, and serving imports no torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "model", "training")
#: What each package may import of the three.
ALLOWED = {"app": {"app", "model"}, "model": {"model"}, "training": {"training", "model"}}
#: The files and folders of model/ that may import torch, and the packages that model/ may never import.
TORCH_FILES = {
    "model/autograd.py",
    "model/eigenpair_functions.py",
    "model/eigensolvers/triton_gpu.py",
    "model/general_eig.py",
}
TORCH_FOLDERS = ("model/operators/",)
FOREIGN_TO_MODEL = {"fastapi", "pandas", "pydantic", "sklearn", "starlette", "uvicorn"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(p): p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))}


def imports_of(module: str) -> Iterator[str]:
    """Every module that ``module`` names in an import, wherever in it the import stands."""
    path = SOURCES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in SOURCES else base


def test_there_is_something_to_look_at():
    assert {"app", "model", "training", "model.eigensolvers.cpu", "training.fit"} <= set(SOURCES)
    assert "model.eigensolvers.dispatch" in set(imports_of("model.eigensolvers"))
    assert "model.eigensolvers.reference" in set(imports_of("model.eigensolvers.dispatch"))


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_only_what_its_package_may(module):
    package = module.split(".")[0]
    named = {name.split(".")[0] for name in imports_of(module)}
    assert named & set(PACKAGES) <= ALLOWED[package]
    if package == "model":
        assert not named & FOREIGN_TO_MODEL
    file = SOURCES[module].relative_to(ROOT).as_posix()
    if package == "model" and file not in TORCH_FILES and not file.startswith(TORCH_FOLDERS):
        assert not named & {"torch", "triton"}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_a_package_have_no_cycles(package):
    inside = [name for name in SOURCES if name.split(".")[0] == package]
    graph = {name: {other for other in imports_of(name) if other in SOURCES} - {name} for name in inside}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


@pytest.mark.parametrize("package", PACKAGES)
def test_a_packages_init_only_hands_names_on(package):
    for name in SOURCES:
        if SOURCES[name].name == "__init__.py" and name.split(".")[0] == package:
            for node in ast.parse(SOURCES[name].read_text()).body:
                is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                # "__getattr__" hands a name on when it is first asked for; "if" is for what type checkers see of it.
                is_lazy = isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
                is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
                hands_on = isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)
                assert is_docstring or is_lazy or is_for_types or hands_on, name


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_model_is_imported_without_torch_and_without_pandas():
    result = run_python("import model, sys; print([m for m in ('torch', 'pandas') if m in sys.modules])")
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_the_model_works_where_torch_is_not_installed():
    # None in sys.modules makes an import fail as a missing package does.
    result = run_python(
        "import sys; sys.modules['torch'] = sys.modules['pandas'] = None\n"
        "from tests.model.twin import random_model, random_rows\n"
        "model, rows = random_model('multiclass'), random_rows(20)\n"
        "print(len(model.predict(rows)), len(model.explain(rows)))"
    )
    assert (result.stdout, result.stderr) == ("20 20\n", "")
