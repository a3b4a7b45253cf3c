"""The code of docs/pytorch.md runs, top to bottom, as one program."""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

PAGE = (Path(__file__).parents[1] / "docs" / "pytorch.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_the_code_of_the_page_runs(capsys):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    names = {"__name__": "page"}
    try:
        for block in BLOCKS:
            exec(compile(block, "docs/pytorch.md", "exec"), names)
    finally:
        torch.set_num_threads(threads)
    assert len(BLOCKS) >= 7
    assert capsys.readouterr().out.startswith("SpectralNeuron(in_features=3")
    assert names["loss"] is not None
    assert names["per_sample"].shape == (512, 4, 1, 17)
    assert names["curvature"].shape == (3, 3)
    assert names["found"].converged.all()
