"""What `eigenserve gpu-check` does, on CPU tensors, and what it says where there is no GPU."""

import time

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from eigenserve.cli import main  # noqa: E402
from eigenserve.model.torch import gpu_check  # noqa: E402

CPU = torch.device("cpu")


def test_every_part_is_measured_and_right_on_the_cpu(capsys):
    assert gpu_check.check(gpu_check.Run(CPU, time.monotonic(), 2**30), (1, 5), (64, 256), 2_000)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(" right") for line in lines) == 2 * 7 + 2
    assert sum("as fast as torch.linalg.eigh" in line for line in lines) == 2 * 2
    assert any("s an epoch on the device" in line for line in lines)


@pytest.mark.parametrize("part", ["eigenvalues", "eigenvectors"])
def test_a_wrong_result_is_seen(part, monkeypatch, capsys):
    right = gpu_check.eigh_tridiagonal

    def wrong(diag, off_diag, *, eig_idx):
        # The first call of a pair is the truth.
        wrong.calls += 1
        pairs = right(diag, off_diag, eig_idx=eig_idx)
        if wrong.calls % 2 == 0:
            return type(pairs)(
                pairs.eigenvalues * (1 + 1e-13 * (part == "eigenvalues")),
                pairs.eigenvectors * (1 + 1e-12 * (part == "eigenvectors")),
            )
        return pairs

    wrong.calls = 0
    monkeypatch.setattr(gpu_check, "eigh_tridiagonal", wrong)
    errors = gpu_check.family_errors(CPU, *gpu_check.families(7)["random"])
    assert errors[0] > gpu_check.VALUE_ERROR or errors[1] > gpu_check.RESIDUAL


def test_what_does_not_fit_is_named_and_left_out(capsys):
    assert gpu_check.check(gpu_check.Run(CPU, time.monotonic(), 2**16), (5,), (1_000_000,), 2_000)
    assert capsys.readouterr().out.count("left out: needs") == 2
    late = gpu_check.Run(CPU, time.monotonic() - gpu_check.LATEST_START_S - 1, 2**30)
    assert gpu_check.timed(late, 5, 64, 1e9, lambda count: 1.0) == "left out: no time left"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is said without a CUDA device")
def test_without_a_gpu_one_line_says_so(capsys):
    assert main(["gpu-check"]) == 2
    assert capsys.readouterr().err.startswith("error: gpu-check needs a CUDA device; torch ")
