"""One thread for torch in all tests of the model."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def one_thread_of_torch() -> Iterator[None]:
    """Keep torch to one thread: where cores are busy, two wait for each other at every small operation."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
