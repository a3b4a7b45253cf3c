"""Kernels and their parts: what is compiled, how often, and what of it is found again."""

import gc
import importlib.util

import numpy as np

from eigenserve.model.kernels.compiled import is_on_disk, kernel, part

SOURCE = """
from eigenserve.model.kernels.compiled import kernel, part

@part
def power(base, exponent):
    result = 1.0
    for _ in range(exponent):
        result *= base
    return result

@kernel
def cube_and_square(values, out):
    for i in range(len(values)):
        out[i] = power(values[i], 3) + power(values[i], 2)
"""


def module_of(folder):
    path = folder / "some_kernels.py"
    if not path.exists():
        path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("some_kernels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_kernel_is_compiled_once_with_its_parts_and_found_on_disk_from_then_on(tmp_path):
    module = module_of(tmp_path)
    values, out = np.array([1.0, 2.0, -3.0]), np.empty(3)
    assert not is_on_disk(module.cube_and_square)
    module.cube_and_square(values, out)
    assert out.tolist() == [2.0, 12.0, -18.0]
    assert gc.isenabled()
    # One for the type of a whole number, not one for 3 and one for 2.
    assert len(module.power.overloads) == 1
    again = module_of(tmp_path)
    assert is_on_disk(again.cube_and_square)
    again.cube_and_square(values, out)
    assert again.cube_and_square.stats.cache_hits
    assert not again.power.overloads


def test_a_part_may_be_called_from_python():
    @part
    def hypotenuse(a, b):
        return np.sqrt(a * a + b * b)

    assert hypotenuse(3.0, 4.0) == 5.0
    assert hypotenuse(np.float32(3.0), np.float32(4.0)) == 5.0


def test_a_kernel_of_one_part_calls_another_kernel(tmp_path):
    inner = module_of(tmp_path).cube_and_square

    @kernel
    def total(values):
        out = np.empty(len(values))
        inner(values, out)
        sum_ = 0.0
        for number in out:
            sum_ += number
        return sum_

    assert total(np.array([1.0, 2.0])) == 14.0
