"""Group members into batches that the device's memory holds, and train these one after the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from eigenserve.training.search.members import Course, Task
from eigenserve.training.search.on_device.batch import Batch, DeviceRows
from eigenserve.training.search.on_device.devices import torch_device
from eigenserve.training.search.workbench import TrainedMember, Workbench

#: Bytes for the members of a batch where a device does not say how much is free, and the share of what is.
USUAL_BYTES, FREE_SHARE = 2**31, 0.5
#: Arrays as large as a member's parameters that a step holds, and float64 arrays as large as a batch's vectors.
PARAMETER_ARRAYS, VECTOR_ARRAYS = 12, 32


def train_batches(
    bench: Workbench, tasks: Sequence[Task], go_on: Callable[[float], bool]
) -> Iterator[tuple[Task, TrainedMember]]:
    """Yield the members of all tasks, those of one size and length together.

    Args:
        bench: what they are trained on, and its device.
        tasks: the members.
        go_on: called with the share of the steps done; false ends the training with what it has reached.
    """
    device = torch_device(bench.device)
    groups: dict[Hashable, list[Task]] = {}
    for task in tasks:
        count = len(bench.fold) if task.fold is None else int(np.count_nonzero(bench.fold != task.fold))
        key = task.candidate.dim, task.candidate.teacher, task.steps, min(bench.batch, count)
        groups.setdefault(key, []).append(task)
    done, total = 0, sum(task.steps for task in tasks)
    rows: dict[float, DeviceRows] = {}
    for group in groups.values():
        most = _most_members(bench, group[0], device)
        for first in range(0, len(group), most):
            part = group[first : first + most]
            courses = _courses(bench, part)
            share = part[0].candidate.teacher
            if share not in rows:
                rows = {share: DeviceRows(courses[0].rows, device)}
            batch = Batch(courses, rows[share], bench.caps)
            batch.train(partial(_go_on, go_on, done / total, len(part) / total))
            yield from zip(part, batch.members(), strict=True)
            done += sum(task.steps for task in part)


def _courses(bench: Workbench, tasks: Sequence[Task]) -> list[Course]:
    """Return the courses of tasks, of which those outside one fold share the lists of its rows."""
    splits: dict[int | None, tuple[Any, Any]] = {}
    courses = []
    for task in tasks:
        course = bench.course(*task)
        train, held = splits.setdefault(task.fold, (course.train, course.held))
        courses.append(replace(course, train=train, held=held))
    return courses


def _go_on(go_on: Callable[[float], bool], before: float, per_step: float, steps: int) -> bool:
    return go_on(before + steps * per_step)


def _most_members(bench: Workbench, task: Task, device: torch.device) -> int:
    """Return how many members fit into the device's memory next to the rows."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    room = FREE_SHARE * max(0, free - _row_bytes(bench)) if free else USUAL_BYTES
    plan, dim = bench.blueprint.plan, task.candidate.dim
    params = PARAMETER_ARRAYS * 4 * int(plan.param_offsets[-1]) * plan.num_outputs * (2 * dim - 1)
    places = 2 * 12 * bench.batch * (2 * len(bench.groups) + 1)
    vectors = VECTOR_ARRAYS * 8 * bench.batch * plan.num_outputs * dim
    return max(1, int(room / (params + places + vectors)))


def _row_bytes(bench: Workbench) -> int:
    return sum(array.nbytes for array in bench.rows)
