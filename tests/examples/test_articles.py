"""The notebook of the articles runs as a reader runs it, shortened; the simulated collisions are what they say."""

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

FOLDER = Path(__file__).parents[2] / "examples" / "articles"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in ("run", "higgs"):
        sys.modules.pop(name, None)


def test_the_notebook_runs_and_holds_no_outputs(capsys):
    cells = json.loads((FOLDER / "articles.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    names = {"__name__": "notebook"}
    texts = ["".join(cell["source"]) for cell in code]
    assert "EPOCHS = 10\n" in texts[0]
    texts[0] = texts[0].replace("EPOCHS = 10\n", "EPOCHS = 1\n")
    for text in texts:
        exec(compile(text, "articles.ipynb", "exec"), names)
    printed = capsys.readouterr().out
    assert (names["slopes"].abs() <= names["bounds"] + 1e-6).all()
    assert names["error"] < 80_000  # a constant has 115,000 dollars
    assert "eigenvalue [1.0, 0.5, 0.0, 0.5, 1.0]" in printed


def test_decays_have_the_resonance_s_mass_and_momentum():
    import higgs

    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(100, 3, generator=generator, dtype=torch.float64)
    direction /= direction.norm(dim=1, keepdim=True)
    momentum = 80 * torch.randn(100, 3, generator=generator, dtype=torch.float64)
    first, second = higgs.decay(direction, momentum)
    torch.testing.assert_close(first + second, momentum)
    energy = first.norm(dim=1) + second.norm(dim=1)
    mass = (energy**2 - (momentum**2).sum(1)).sqrt()
    torch.testing.assert_close(mass, torch.full_like(mass, higgs.MASS))


def test_the_area_is_that_of_scikit_learn():
    import higgs
    from sklearn.metrics import roc_auc_score

    x, labels = higgs.collisions(500, 3)
    assert x.shape == (500, 13)
    assert abs(float(labels.mean()) - 0.5) < 0.1
    assert higgs.area(x[:, 3], labels) == pytest.approx(roc_auc_score(labels, x[:, 3]), abs=1e-12)
