"""The second process of a fit: it compiles what the fit calls, and may fail without harm."""

import subprocess
import sys

from eigenserve.training.kernels.epoch import member_scores, train_epoch
from eigenserve.training.search.preparation import ahead
from eigenserve.training.search.preparation.ahead import Compiling, compile_training
from eigenserve.training.search.preparation.priming import prime_kernels


def test_what_is_compiled_ahead_is_what_a_fit_calls():
    prime_kernels()
    signatures = [set(kernel.signatures) for kernel in (train_epoch, member_scores)]
    compile_training()
    assert [set(kernel.signatures) for kernel in (train_epoch, member_scores)] == signatures


def test_a_process_that_fails_is_not_waited_for():
    failed = [sys.executable, "-c", "raise SystemExit(1)"]
    with subprocess.Popen(failed, stdout=subprocess.PIPE, text=True) as process:
        Compiling(process).wait_for("training")
    Compiling(None).wait_for("training")


def test_kernels_are_waited_for_in_any_order():
    lines = [sys.executable, "-c", "print('training'); print('explaining')"]
    with subprocess.Popen(lines, stdout=subprocess.PIPE, text=True) as process:
        compiling = Compiling(process)
        compiling.wait_for("explaining")
        compiling.wait_for("training")


def test_no_process_compiles_what_it_could_not_hand_over(monkeypatch):
    monkeypatch.setattr(ahead, "is_on_disk", lambda _: False)
    monkeypatch.setattr(ahead, "num_threads", lambda: 2)
    monkeypatch.setattr(ahead, "can_be_kept", lambda _: False)
    monkeypatch.setattr(subprocess, "Popen", None)
    ahead.start_compiling.__wrapped__().wait_for("explaining")
