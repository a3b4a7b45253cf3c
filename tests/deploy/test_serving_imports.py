"""Serving needs neither what only training needs nor what only references need: the image has none of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CODE = """
import sys
# None in sys.modules makes an import fail as a missing package does.
for name in ("torch", "scipy", "pandas", "pyarrow", "sklearn", "plotly", "rich", "fsspec"):
    sys.modules[name] = None
sys.path.insert(0, "tests/app")
import eigenserve.cli, eigenserve.app.server.process
from tests.support.made_models import make_model, make_rows
from eigenserve.app.server.compile_kernels import use
model = make_model("multiclass")
use(model, make_rows(3)[2], ("age", "rate"))
print(len(model.predict(make_rows(3))))
"""


def test_the_service_works_without_what_the_serving_image_lacks():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3\n", "")
