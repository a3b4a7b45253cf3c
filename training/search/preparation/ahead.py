"""Compile in a second process what a fit needs later, while the first reads the table and begins.

Numba compiles one function at a time in a process. A fresh installation compiles for 15 seconds of processor time for a
fit (measured): half of it here, and found on disk by the time that it is needed.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TextIO

import numpy as np

from eigenserve.model.checkpoints.smallest import smallest_model
from eigenserve.model.kernels.compiled import can_be_kept, is_on_disk
from eigenserve.model.kernels.threads import num_threads
from eigenserve.model.matrices.curves import Term
from eigenserve.training.curves.basis import main_curve
from eigenserve.training.kernels.epoch import member_scores, train_epoch
from eigenserve.training.kernels.layout import Rows, workspace
from eigenserve.training.kernels.losses import SQUARED
from eigenserve.training.search.members import draw_blueprint, identity_params, new_member

#: The folder that holds the package, which the process may have found in another way than an installation's.
_SOURCE = Path(__file__).parents[4]


class Compiling:
    """Follow the second process, if there is one.

    What it fails to compile is compiled here when it is called, and errors are reported then.
    """

    def __init__(self, process: subprocess.Popen[str] | None) -> None:
        self._process = process
        self._compiled: set[str] = set()

    def wait_for(self, kernels: str) -> None:
        """Wait until "training" or "explaining" is compiled, or the process has ended."""
        if self._process is None or self._process.stdout is None:
            return
        while kernels not in self._compiled and (line := self._process.stdout.readline()):
            self._compiled.add(line.strip())


@cache
def start_compiling() -> Compiling:
    """Start the process, unless all is compiled already, it could hand nothing over, or there is one core only.

    It is killed when this one ends: what it was writing is then not there.
    """
    if is_on_disk(train_epoch) and is_on_disk(member_scores):
        return Compiling(None)
    if num_threads() < 2 or not sys.executable or not can_be_kept(train_epoch):
        return Compiling(None)
    path = os.pathsep.join(filter(None, (str(_SOURCE), os.environ.get("PYTHONPATH", ""))))
    process = subprocess.Popen(
        [sys.executable, "-m", "eigenserve.training.search.preparation.ahead"],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.kill)
    return Compiling(process)


def compile_training() -> None:
    """Compile what trains members and scores rows by them: an epoch of no steps, and no rows."""
    basis = main_curve(0, 0, np.linspace(-1.0, 1.0, 16), False, "piecewise", 4)
    assert basis is not None
    blueprint = draw_blueprint(
        (Term("x", (0,)),), [basis], dim=3, eig_idx=1, num_outputs=1, loss=SQUARED, loss_parameter=0.0
    )
    plan, params = blueprint.plan, int(blueprint.plan.param_offsets[-1])
    one = np.zeros(1, np.float32)
    rows = Rows(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32), one, one)
    anchor = identity_params(blueprint, np.zeros((0, 1)))
    member = new_member(blueprint, anchor, np.zeros(1), np.ones(params, np.bool_), np.random.default_rng(0))
    space, none = workspace(plan, 1), np.empty(0, np.int64)
    train_epoch(plan, rows, none, 1, np.empty(0), np.zeros(params, np.float32), member, space)
    member_scores(plan, rows, none, member.params, member.offset, space, np.empty((0, 1)))


def main(output: TextIO) -> None:
    """Compile in the order in which a fit needs it, and write what is there in a line each."""
    compile_training()
    print("training", file=output, flush=True)
    model = smallest_model()
    row = dict.fromkeys(model.features.names, 0.25)
    model.explain([row], method="eigenvector")
    # A report needs both at once: what is not there yet it would compile by itself, in twice the time.
    model.predict([row])
    print("explaining", file=output, flush=True)


if __name__ == "__main__":
    main(sys.stdout)
