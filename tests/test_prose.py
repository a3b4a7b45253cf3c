"""Everything a user reads is in plain English: the words that CONTRIBUTING.md excludes stand nowhere in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The aim is none; so many hide no trend.
MOST = 15
#: "told" for given or inferred, "anew" for again, "beside" for next to; and a negated noun for a negated verb.
EXCLUDED = re.compile(
    r"\b(?:told|tells?|telling|anew|besides?)\b"
    r"|(?<!there )\b(?:is|are|was|were|be) no\b(?! (?:longer|more than|such|one)\b)",
    flags=re.IGNORECASE,
)
#: A docstring's first word is a verb: not an article, a question word, a number or a symbol.
NOT_A_VERB = re.compile(
    r"^(?:the|an?|all|each|every|one|two|what|which|whether|where|when|how|why|who|its?|some|any|no|not|as|of|by|"
    r"from|for|so|up|at|with)\b|^[^A-Za-z]",
    flags=re.IGNORECASE,
)
PYTHON = [
    *(ROOT / "src" / "eigenserve").glob("*.py"),
    *(path for top in ("app", "model", "training") for path in sorted((ROOT / top).rglob("*.py"))),
]
PAGE = [
    path
    for pattern in ("*.js", "*.html", "*.css")
    for path in sorted((ROOT / "app" / "page").rglob(pattern))
    if "vendor" not in path.parts
]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                assert isinstance(first.value.value, str)
                yield first.value


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and what stands there for people: of Python, every string (docstrings, errors, help); else all."""
    content = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.lineno, node.value
    else:
        # CONTRIBUTING names the words that it excludes.
        quoted = re.compile(r"^\d\. .*$") if path.name == "CONTRIBUTING.md" else re.compile(r"(?!)")
        yield from ((i, line) for i, line in enumerate(content.splitlines(), 1) if not quoted.match(line))


def test_the_words_are_recognised():
    for text in ("it is told from the values", "the run begins anew", "a form beside it", "'x' is no number"):
        assert EXCLUDED.search(text)
    for text in ("the model is no longer served", "it is not a number", "intolerable", "sided with"):
        assert not EXCLUDED.search(text)


def test_excluded_words_are_rare():
    assert min(len(files) for files in (PYTHON, PAGE, DOCUMENTS)) > 10
    met = [
        f"{path.relative_to(ROOT)}:{line}: {match.group(0)}"
        for path in (*PYTHON, *PAGE, *DOCUMENTS)
        for line, text in texts(path)
        for match in EXCLUDED.finditer(text)
    ]
    assert len(met) < MOST, "\n".join(met)


def test_nearly_every_docstring_begins_with_a_verb():
    every = [(path, node) for path in PYTHON for node in docstrings(ast.parse(path.read_text()))]
    met = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value.splitlines()[0]}"
        for path, node in every
        if NOT_A_VERB.match(node.value.lstrip())
    ]
    assert len(met) < 0.02 * len(every), "\n".join(met)


def test_no_entry_of_the_changelog_stands_twice():
    text = (ROOT / "CHANGELOG.md").read_text()
    entries = [" ".join(entry.split()) for entry in re.findall(r"^- .*(?:\n  .*)*", text, flags=re.MULTILINE)]
    assert len(entries) > 100
    assert [entry for entry in {*entries} if entries.count(entry) > 1] == []


def test_headings_of_the_changelog_are_headings():
    # Markdown takes a plain line after a list for a part of its last entry.
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()[3:]
    assert [line for line in lines if line and not line.startswith(("#", "- ", "  "))] == []
