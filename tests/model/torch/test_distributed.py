"""Layers under DistributedDataParallel: two processes with gloo hold the gradients of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("needs a torch with gloo", allow_module_level=True)

ROOT = Path(__file__).parents[3]
CODE = """
import datetime, sys
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from eigenserve.torch import SpectralLayer, SpectralNeuron

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60)
)
torch.set_num_threads(1)
torch.manual_seed(rank)  # the wrapper hands rank 0's start to all
module = torch.nn.Sequential(SpectralLayer(3, 4, 5), SpectralNeuron(4, 5)).double()
parallel = DistributedDataParallel(module)
x = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    parallel(x[8 * rank : 8 * rank + 8]).pow(2).mean().backward()
    optimizer.step()
if rank == 0:
    torch.save((module.state_dict(), x), f"{folder}/trained.pt")
distributed.destroy_process_group()
"""


def test_two_processes_train_as_one(tmp_path):
    from eigenserve.torch import SpectralLayer, SpectralNeuron

    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(rank), str(tmp_path)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    state, x = torch.load(tmp_path / "trained.pt")
    torch.manual_seed(0)
    alone = torch.nn.Sequential(SpectralLayer(3, 4, 5), SpectralNeuron(4, 5)).double()
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        alone(x).pow(2).mean().backward()
        optimizer.step()
    for name, parameter in alone.state_dict().items():
        torch.testing.assert_close(state[name], parameter, rtol=1e-10, atol=1e-12)
