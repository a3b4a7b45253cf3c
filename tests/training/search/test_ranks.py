"""A fit under `torchrun`: the same model as one process trains, and every process its share of the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eigenserve.errors import UserError
from eigenserve.training.data.table import read_table
from eigenserve.training.fit import fit
from eigenserve.training.search.jobs import run_jobs
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.settings import FitSettings

ROOT = Path(__file__).parents[3]
DATA = ROOT / "examples" / "data"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def fit_command(*arguments, torchrun=False, timeout=150):
    # OMP_NUM_THREADS as torchrun would set it, and say so on standard error.
    return subprocess.run(
        [sys.executable, *(TORCHRUN if torchrun else ("-m",)), "eigenserve", "fit", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_two_processes_train_the_model_of_one_and_share_the_work(tmp_path):
    table, target = "titanic", "survived"
    options = (DATA / f"{table}.csv", "--target", target, "--members", 3, "--dim", 5, "--epochs", 4, "--json")
    found = {}
    for name in ("one", "two"):
        done = fit_command(*options, "--store", tmp_path / name, torchrun=name == "two")
        assert done.returncode == 0, done.stderr
        # Only rank 0 prints: one summary, one version.
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        assert len(lines) == 1
        found[name] = json.loads(lines[0])
        assert [path.name for path in (tmp_path / name / table).iterdir()] == ["1"]
    assert found["one"]["metrics"] == found["two"]["metrics"]
    weights = [(tmp_path / name / table / "1" / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    members = [share["members"] for share in found["two"]["ranks"]]
    assert "ranks" not in found["one"]
    assert min(members) > 0
    # Jobs are dealt out in turn in every round of the search, and once more for the finished members.
    assert max(members) - min(members) <= 5


def test_a_mistake_ends_all_processes(tmp_path):
    constant = tmp_path / "constant.csv"
    constant.write_text("x,y\n" + "".join(f"1,{i % 2}\n" for i in range(50)))
    done = fit_command(constant, "--target", "y", "--store", tmp_path / "store", torchrun=True)
    assert done.returncode != 0
    assert "error: at least one feature must vary" in done.stderr
    assert not (tmp_path / "store" / "constant" / "1").exists()


class PaperRanks(Ranks):
    """Ranks of which only this one is there: the others' values are named, not computed."""

    def exchange(self, value):
        return [value if rank == self.rank else f"of rank {rank}" for rank in range(self.size)]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_every_job_is_run_by_one_rank_and_results_keep_their_order(count):
    ran = []
    jobs = [lambda stop, i=i: ran.append(i) or i for i in range(count)]
    ranks = PaperRanks(rank=1, size=3)
    results = list(run_jobs(jobs, ranks))
    assert results == [i if i % 3 == 1 else f"of rank {i % 3}" for i in range(count)]
    assert sorted(ran) == [i for i in range(count) if i % 3 == 1]
    assert ranks.jobs == len(ran)


def test_one_process_imports_no_torch(tmp_path):
    code = (
        "import sys\n"
        "from eigenserve.cli import main\n"
        f"code = main(['fit', {str(DATA / 'penguins.csv')!r}, '--target', 'bill_length_mm', '--store', sys.argv[1],\n"
        "             '--members', '1', '--dim', '3', '--epochs', '1', '--pairs', 'none'])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_ranks_that_are_alone_are_counted_too():
    ranks = Ranks()
    table = read_table(DATA / "penguins.csv")
    fitted = fit(table, "species", FitSettings(members=1, dim=3, epochs=1), ranks=ranks)
    assert ranks.jobs > len({j.candidate for j in fitted.judged if j.candidate is not None})
    assert ranks.seconds > 0
    assert np.isfinite(fitted.scores).all()


def test_what_rank_zero_cannot_do_none_does():
    with pytest.raises(UserError, match="too few"):
        Ranks().agree(lambda: _raise(UserError("too few")))


def _raise(error):
    raise error
