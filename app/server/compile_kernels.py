"""Compile every serving kernel into the cache (`eigenserve kernels [FOLDER CPU ...]`), or
for other machines.

Numba finds a compiled kernel again only on a CPU of the same name and features. With names of LLVM's portable CPU
levels (x86-64-v2, x86-64-v3, x86-64-v4; generic on arm64) the kernels are compiled for each of them into FOLDER/CPU; a
process whose environment has this folder as ``NUMBA_CACHE_DIR``, the level as ``NUMBA_CPU_NAME`` and an empty
``NUMBA_CPU_FEATURES`` finds them there. They are compiled without being run: this machine need not have the level.
"""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher

from eigenserve.app.registry import ModelRegistry
from eigenserve.errors import UserError
from eigenserve.model import ModelStore, SpectralModel
from eigenserve.model.checkpoints.smallest import smallest_model
from eigenserve.model.eigensolvers import warm_up
from eigenserve.model.explanations.explain import METHODS
from eigenserve.model.kernels.compiled import is_on_disk
from eigenserve.model.kernels.threads import num_threads
from eigenserve.model.monitoring import CARD_KEY, make_sketch, sketch_document

#: A kernel's module, its name there, and the types that it is compiled for.
Signature = tuple[str, str, tuple[Any, ...]]


def main(folder: str | None = None, *levels: str) -> None:
    """Compile for this CPU, or into ``folder`` for the ``levels`` that are named."""
    if folder is None:
        seen_here = seen_signatures()
        _require_all(_kept(seen_here), len(seen_here), "the cache")
        return
    # Which types the kernels get is seen by running them, on this CPU.
    seen = _python("seen")
    wanted = len(_unpacked(seen))

    def compile_for(level: str) -> str:
        return _python(
            "compile", seen, NUMBA_CACHE_DIR=str(Path(folder, level)), NUMBA_CPU_NAME=level, NUMBA_CPU_FEATURES=""
        )

    with ThreadPoolExecutor(num_threads()) as pool:
        for level, count in zip(levels, pool.map(compile_for, levels), strict=True):
            _require_all(int(count), wanted, str(Path(folder, level)))
            print(f"{level}: {count} kernels", flush=True)


def run_kernels() -> None:
    """Take a row of the smallest model there is through everything that the server does with one."""
    warm_up()
    model = smallest_model()
    sketch = make_sketch(model, np.array([[0.0, 1.0], [0.5, 0.25]]))
    model = replace(model, card={CARD_KEY: sketch_document(sketch)})
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder))
        store.save("smallest", model)
        registry = ModelRegistry(store)
        registry.load_all()
        use(registry.find().model, {"x": 0.25, "y": 0.5}, ("x", "y"))


def use(model: SpectralModel, row: Mapping[str, Any], pair: tuple[str, str]) -> None:
    """Compute every kind of answer about a row; ``pair`` names two numeric features."""
    value = float(model.predict([row])[0]) if model.task in ("regression", "poisson") else 0.5
    for method in METHODS:
        model.explain([row], method=method)
    model.eigenpairs(row)
    model.response_curves(row)
    model.response_surface(row, pair)
    model.interactions(row)
    model.certify(row)
    model.certified_radius(row, threshold=None if model.classes else 1.01 * value)
    model.stability(row)
    wanted = {"class": model.classes[0]} if model.task == "multiclass" else {"above": 1.01 * value}
    model.counterfactuals([row], wanted)


def kernels() -> Iterator[tuple[str, str, Dispatcher]]:
    """Yield every kernel of ``model`` that is cached: its module, its name there, and itself; each once."""
    met: set[int] = set()
    for name, module in sorted(sys.modules.items()):
        if name.startswith("eigenserve.model."):
            for attribute, value in sorted(vars(module).items()):
                if isinstance(value, Dispatcher) and value.stats.cache_path and id(value) not in met:
                    met.add(id(value))
                    yield name, attribute, value


def seen_signatures() -> list[Signature]:
    """Return what ``run_kernels`` compiled."""
    run_kernels()
    return [(name, attribute, types) for name, attribute, kernel in kernels() for types in kernel.signatures]


def compile_signatures(signatures: Sequence[Signature]) -> int:
    """Compile into the cache, for the CPU that the environment names; how many are there now."""
    for name, attribute, types in signatures:
        getattr(import_module(name), attribute).compile(types)
    return _kept(signatures)


def _kept(signatures: Sequence[Signature]) -> int:
    return sum(is_on_disk(getattr(import_module(name), attribute), types) for name, attribute, types in signatures)


def _require_all(kept: int, wanted: int, place: str) -> None:
    """Raise UserError where others would have to compile after all."""
    if kept < wanted:
        raise UserError(f"{wanted - kept} of {wanted} compiled kernels could not be written to {place}")


def _unpacked(signatures: str) -> list[Signature]:
    return list(pickle.loads(base64.b64decode(signatures)))


def _python(command: str, given: str = "", **environment: str) -> str:
    """Run this module in a separate process: Numba reads its environment once."""
    done = subprocess.run(
        [sys.executable, "-m", "eigenserve.app.server.compile_kernels", f"--{command}"],
        input=given,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    if sys.argv[1:] == ["--seen"]:
        print(base64.b64encode(pickle.dumps(seen_signatures())).decode())
    elif sys.argv[1:] == ["--compile"]:
        print(compile_signatures(_unpacked(sys.stdin.read())))
    else:
        main(*sys.argv[1:])
