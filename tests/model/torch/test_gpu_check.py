"""What `eigenserve gpu-check` does, on CPU tensors, and what it says where there is no GPU."""

import time
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from eigenserve.cli import main  # noqa: E402
from eigenserve.model.torch import gpu_check  # noqa: E402
from eigenserve.training.commands import fit_check  # noqa: E402

CPU = torch.device("cpu")


def check_fit():
    """A fit of two members, by tensors and by the kernels."""
    settings = {"curves": "linear", "epochs": 1, "members": 2, "dim": 5}
    return fit_check.check_fit("torch-cpu", 300, **settings)


def test_every_part_is_measured_and_right_on_the_cpu(capsys):
    assert gpu_check.check(gpu_check.Run(CPU, time.monotonic(), 2**30), check_fit, (1, 5), (64, 256), 2_000)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(" right") for line in lines) == 2 * 7 + 2
    assert sum("as fast as torch.linalg.eigh" in line for line in lines) == 2 * 2
    assert any("s an epoch on the device" in line for line in lines)
    assert [line.split(":")[0].strip() for line in lines if "RMSE out of fold" in line] == ["torch-cpu", "cpu"]
    assert "errors agree" in lines


def test_a_fit_that_differs_is_seen(monkeypatch, capsys):
    cards = iter([{"rmse": 1.03}, {"rmse": 1.0}])

    def fit(*_):
        metrics = {"metrics": {"out_of_fold": next(cards)}}
        return SimpleNamespace(model=SimpleNamespace(card=metrics), judged=(), notes=())

    monkeypatch.setattr(fit_check, "fit", fit)
    assert not fit_check.check_fit("torch-cpu", 20)
    assert "WRONG: errors differ by more than 2%" in capsys.readouterr().out


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
    assert gpu_check.check(gpu_check.Run(CPU, time.monotonic(), 2**16), lambda: True, (5,), (1_000_000,), 2_000)
    assert capsys.readouterr().out.count("left out: needs") == 2
    late = gpu_check.Run(CPU, time.monotonic() - gpu_check.LATEST_START_S - 1, 2**30)
    assert gpu_check.timed(late, 5, 64, 1e9, lambda count: 1.0) == "left out: no time left"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is said without a CUDA device")
def test_without_a_gpu_one_line_says_so(capsys):
    assert main(["gpu-check"]) == 2
    assert capsys.readouterr().err.startswith("error: gpu-check needs a CUDA device; torch ")
