"""Run `eigenserve curvature`: measure a model's curvature, print it and write it into the model's folder."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eigenserve.model.spectral import SpectralModel


def add_curvature(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    bend = commands.add_parser(
        "curvature",
        help="measure how flat a model's minimum is",
        description="Measure eigenvalues, trace and density of the Hessian of a model's loss on a table.",
    )
    bend.set_defaults(run=_run)
    bend.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION")
    bend.add_argument("data", metavar="DATA", help="a table with the target, as for fit")
    bend.add_argument("--top", type=int, default=5, metavar="K", help="eigenvalues at each end (default 5)")
    bend.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    bend.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    bend.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _run(arguments: argparse.Namespace) -> None:
    import torch

    from eigenserve.model.checkpoints.locations import load_model
    from eigenserve.training.curvature.device import choose_device
    from eigenserve.training.curvature.measure import measure_curvature
    from eigenserve.training.curvature.plot import summary, write_curvature
    from eigenserve.training.evaluation.model_tables import read_for_models
    from eigenserve.training.progress import FitProgress

    model = load_model(arguments.model)
    started = time.monotonic()
    device = choose_device(arguments.device)
    # The work is bound by memory traffic. Measured: 0.14 s a product with one thread, and on a machine whose
    # cores are busy 2 to 5 s with two, which wait for each other several times a batch.
    torch.set_num_threads(1)
    frame = read_for_models([model], arguments.data)
    with FitProgress(label="curvature") as progress:
        found = measure_curvature(model, frame, arguments.top, seed=arguments.seed, device=device, reporter=progress)
    document = {**found.document(), "data": Path(arguments.data).name, "seed": arguments.seed, "device": device}
    for name in ("top", "bottom"):
        part = document[name]
        print(f"{name} eigenvalues   residual")
        for value, residual, converged in zip(part["eigenvalues"], part["residuals"], part["converged"], strict=True):
            print(f"{value:>15.6g}   {residual:.1e}{'' if converged else '   not converged'}")
    print(summary(document))
    folder = version_folder(Path(arguments.model), model)
    files = write_curvature(folder, document) if folder.is_dir() else []
    for path in files:
        print(f"wrote {path}")
    if not files:
        print("note: nothing was written: the store is not a local folder")
    print(f"{document['products']} products in {time.monotonic() - started:.1f} s")
    if arguments.json:
        print(json.dumps({"model": model.card["name"], "version": model.card["version"], **document}))


def version_folder(path: Path, model: SpectralModel) -> Path:
    """Return the folder of the version that was loaded from STORE/NAME or STORE/NAME/VERSION."""
    version = str(model.card["version"])
    is_version = path.name == version and path.parent.name == model.card["name"]
    return path if is_version else path / version
