"""``python -m training curvature``: measure, print and write beside the model."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from model.spectral import SpectralModel
from training.curvature import measure_curvature
from training.curvature_plot import summary, write_curvature
from training.device import choose_device
from training.progress import FitProgress
from training.table import read_table


def run(model: SpectralModel, arguments: argparse.Namespace) -> None:
    """Run the command on a loaded model; ``arguments`` has model, data, top, seed, device and json."""
    started = time.monotonic()
    device = choose_device(arguments.device)
    # The work is bound by memory traffic. Measured: 0.14 s a product with one thread, and on a machine whose
    # cores are busy 2 to 5 s with two, which wait for each other several times a batch.
    torch.set_num_threads(1)
    frame = read_table(arguments.data)
    with FitProgress(label="curvature") as progress:
        found = measure_curvature(model, frame, arguments.top, seed=arguments.seed, device=device, reporter=progress)
    document = {**found.document(), "data": arguments.data.name, "seed": arguments.seed, "device": device}
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
        print("note: nothing was written, the store is no local folder")
    print(f"{document['products']} products in {time.monotonic() - started:.1f} s")
    if arguments.json:
        print(json.dumps({"model": model.card["name"], "version": model.card["version"], **document}))


def version_folder(path: Path, model: SpectralModel) -> Path:
    """STORE/NAME or STORE/NAME/VERSION -> the folder of the version that was loaded from there."""
    version = str(model.card["version"])
    is_version = path.name == version and path.parent.name == model.card["name"]
    return path if is_version else path / version
