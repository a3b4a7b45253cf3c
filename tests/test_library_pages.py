"""The code of docs/pytorch.md and docs/jax.md runs, top to bottom, as one program each."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def run_page(page):
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    names = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, f"docs/{page}", "exec"), names)
    return names


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_the_code_of_the_page_about_torch_runs(capsys):
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        names = run_page("pytorch.md")
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.startswith("SpectralNeuron(in_features=3")
    assert names["loss"] is not None
    assert names["per_sample"].shape == (512, 4, 1, 17)
    assert names["curvature"].shape == (3, 3)
    assert names["found"].converged.all()
    # The step by hand is Adam: its loss falls.
    assert names["after"] < names["before"]


def test_the_code_of_the_page_about_jax_runs():
    jax = pytest.importorskip("jax", reason="needs the jax extra")
    before = jax.config.read("jax_enable_x64")
    try:
        names = run_page("jax.md")
    finally:
        jax.config.update("jax_enable_x64", before)
    assert names["values"].shape == (4096,)
    assert names["curvature"].shape == (8, 15, 15)
