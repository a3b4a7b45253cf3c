"""Imports run one way, app -> model <- training, downward inside each, without cycles; serving imports no torch."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "eigenserve"
PACKAGES = ("app", "model", "training")
#: What each package may import of the three; the command line and the public names stand above them.
ALLOWED = {"app": {"app", "model"}, "model": {"model"}, "training": {"training", "model"}}
#: From the top floor down: a part imports only what stands on lower floors, and nothing on its own.
FLOORS = {
    "model": (
        "onnx",
        "checkpoints torch",
        "monitoring",
        "spectral",
        "reasons",
        "explanations counterfactuals",
        "certificates",
        "predictor operators",
        "matrices autograd",
        "eigensolvers rows",
        "kernels arrays",
    ),
    "app": (
        "cli",
        "server",
        "application",
        "api batch rpc",
        "middleware page",
        "engine",
        "observability",
        "wire",
        "registry keys",
        "problems",
        "agreement settings request_state",
    ),
    "training": (
        "commands",
        "report estimators",
        "fit",
        "search curvature",
        "planning",
        "additive training_table",
        "settings",
        "curves evaluation",
        "data",
        "kernels progress releases teachers",
    ),
}
#: The folders of model/ that may import torch or triton, and one file; the packages that model/ may never import.
TORCH = ("model.autograd", "model.operators", "model.torch", "model.eigensolvers.cuda")
FOREIGN_TO_MODEL = {"fastapi", "pandas", "pydantic", "sklearn", "starlette", "uvicorn"}


def module_name(path: Path) -> str:
    parts = ("eigenserve", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Path.rglob does not follow links to folders.
FOLDERS = [SOURCE / "client", *(SOURCE / package for package in PACKAGES)]
FILES = [*SOURCE.glob("*.py"), *(file for folder in FOLDERS for file in sorted(folder.rglob("*.py")))]
SOURCES = {module_name(path): path for path in FILES}


def imports_of(module: str, at_load: bool = False) -> Iterator[str]:
    """Every module that ``module`` names in an import, anywhere in it or only where it is loaded."""
    path = SOURCES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    for node in tree.body if at_load else ast.walk(tree):
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


def part_of(module: str) -> tuple[str, str] | None:
    """The package of three and the file or folder in it; None for what stands above or outside them."""
    names = module.split(".")
    return (names[1], names[2]) if names[0] == "eigenserve" and len(names) > 2 else None


def test_the_client_imports_nothing_of_the_service_or_the_model():
    for module in (name for name in SOURCES if name.startswith("eigenserve.client")):
        ours = {name for name in imports_of(module) if name.startswith("eigenserve")}
        allowed = ("eigenserve.errors", "eigenserve.extras")
        assert all(name in allowed or name.startswith("eigenserve.client") for name in ours), module


def test_there_is_something_to_look_at():
    assert {"eigenserve", "eigenserve.cli", "eigenserve.model.eigensolvers.cpu", "eigenserve.training.fit"} <= set(
        SOURCES
    )
    assert "eigenserve.model.eigensolvers.api" in set(imports_of("eigenserve.model.eigensolvers"))
    assert "eigenserve.model.eigensolvers.lapack" in set(imports_of("eigenserve.model.eigensolvers.api"))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_is_a_link_to_its_folder_at_the_top(package):
    assert (SOURCE / package).is_symlink()
    assert (SOURCE / package).resolve() == ROOT / package


def test_no_file_imports_a_package_by_another_name():
    tops = {"app", "model", "training"}
    for path in [*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not tops & {name.split(".")[0] for name in names}, path


@pytest.mark.parametrize(
    "module", [name for name in SOURCES if name.startswith(tuple(f"eigenserve.{p}" for p in PACKAGES))]
)
def test_a_module_imports_only_what_its_package_may(module):
    package = module.split(".")[1]
    named = set(imports_of(module))
    within = {name.split(".")[1] for name in named if name.startswith("eigenserve.")}
    assert within & set(PACKAGES) <= ALLOWED[package]
    assert "eigenserve.cli" not in named or module.endswith(".__main__")
    if package == "model":
        outside = {name.split(".")[0] for name in named}
        assert not outside & FOREIGN_TO_MODEL
        if not module.removeprefix("eigenserve.").startswith(TORCH):
            assert not outside & {"torch", "triton"}


@pytest.mark.parametrize("package", PACKAGES)
def test_parts_of_a_package_import_downward_only(package):
    floor = {part: i for i, parts in enumerate(FLOORS[package]) for part in parts.split()}
    found = {part for module in SOURCES if (name := part_of(module)) and name[0] == package for part in [name[1]]}
    assert found - {"__main__"} == set(floor)
    wrong = [
        f"{module} imports {other}"
        for module in SOURCES
        if (mine := part_of(module)) and mine[0] == package and mine[1] != "__main__"
        for other in imports_of(module)
        if (theirs := part_of(other))
        and theirs[0] == package
        and theirs[1] != mine[1]
        and floor[theirs[1]] <= floor[mine[1]]
    ]
    assert not wrong


def test_imports_have_no_cycles():
    graph = {name: {other for other in imports_of(name) if other in SOURCES} - {name} for name in SOURCES}
    graph["eigenserve"] = set()  # its names are imported when they are used
    for name in SOURCES:
        graph[name].discard("eigenserve")
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_no_folder_is_a_drawer():
    for package in PACKAGES:
        for folder in [
            ROOT / package,
            *(p for p in (ROOT / package).rglob("*") if p.is_dir() and p.name != "__pycache__"),
        ]:
            rooms = [
                p for p in folder.iterdir() if p.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed")
            ]
            assert len(rooms) <= 17, folder


def test_a_packages_init_only_hands_names_on():
    for name, path in SOURCES.items():
        if path.name == "__init__.py" and name != "eigenserve":
            for node in ast.parse(path.read_text()).body:
                is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                # "__getattr__" hands a name on when it is first used; "if" is for what type checkers see of it.
                is_lazy = isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
                is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
                hands_on = isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)
                # "with naming_extra(...)" around imports says which extra they need.
                names_extra = isinstance(node, ast.With) and "naming_extra" in ast.unparse(node.items[0])
                assert names_extra or is_docstring or is_lazy or is_for_types or hands_on, name


#: A module's path in code font, and the path of a file of the three packages.
MODULE = re.compile(r"`(?:eigenserve\.)?((?:app|model|training)(?:\.[a-z_0-9]+)+)(?:\.[A-Z]\w*|\.[a-z_]+\(?)?[^`]*`")
FILE = re.compile(r"\b((?:app|model|training|tests|benchmarks|deploy)/[\w/.-]+\.(?:py|js|yaml|toml|sh))\b")


def names_something(dotted: str) -> bool:
    """Whether a dotted path below eigenserve is a module, or a name in one."""
    if f"eigenserve.{dotted}" in SOURCES:
        return True
    module, _, name = f"eigenserve.{dotted}".rpartition(".")
    return module in SOURCES and re.search(rf"\b{name}\b", SOURCES[module].read_text()) is not None


def test_every_module_and_file_named_in_docs_and_docstrings_exists():
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md"), *FILES]
    for path in texts:
        text = path.read_text()
        for dotted in MODULE.findall(text):
            # `model.predict(rows)` is a variable of an example.
            if dotted.split(".")[1] in {file.stem for file in (ROOT / dotted.split(".")[0]).iterdir()}:
                assert names_something(dotted), f"{path} names {dotted}"
        for file in FILE.findall(text):
            assert (ROOT / file).exists(), f"{path} names {file}"


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = ['src', '.']\n{code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_model_is_imported_without_torch_and_without_pandas():
    result = run_python("import eigenserve.model; print([m for m in ('torch', 'pandas') if m in sys.modules])")
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_the_public_names_are_imported_when_they_are_used():
    result = run_python(
        "import eigenserve\nprint('numba' in sys.modules)\n"
        "for name in eigenserve.__all__: assert getattr(eigenserve, name) is not None\nprint(sorted(dir(eigenserve)))"
    )
    assert result.stderr == ""
    assert result.stdout.startswith("False\n['Explanation', 'ModelStore', 'SpectralClassifier'")


def test_the_model_works_where_torch_is_not_installed():
    # None in sys.modules makes an import fail as a missing package does.
    result = run_python(
        "sys.modules['torch'] = sys.modules['pandas'] = None\n"
        "from tests.support.twin import random_model, random_rows\n"
        "model, rows = random_model('multiclass'), random_rows(20)\n"
        "print(len(model.predict(rows)), len(model.explain(rows)))"
    )
    assert (result.stdout, result.stderr) == ("20 20\n", "")
