"""Train the members of all candidates and folds of one size as one batch: the twin of ``training.kernels.epoch``.

A step gathers the matrices of every member's rows, solves for all of them at once, scatters the slopes back and takes
Adam's step for all parameters. Members start at the same numbers, see the same rows in the same order and take the same
steps as by the kernels; only the rounding differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from eigenserve.model.autograd.kernels import eigenpairs
from eigenserve.training.curves.caps import Cap
from eigenserve.training.kernels.epoch import ADAM_EPSILON, BETA_1, BETA_2
from eigenserve.training.kernels.layout import Rows
from eigenserve.training.search.members import Course, packed, unpacked
from eigenserve.training.search.on_device.expansion import Expansion
from eigenserve.training.search.on_device.slopes import batch_slopes
from eigenserve.training.search.workbench import TrainedMember

#: Steps whose rows are moved to the device at once.
STEPS_AHEAD = 64
#: Rows that are scored at a time.
SCORED_ROWS = 65_536


class DeviceRows:
    """Hold rows on a device, as ``Rows``."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self.starts, self.weights, self.target, self.sample_weight = (
            torch.from_numpy(array).to(device) for array in rows[:4]
        )
        self.soft = torch.from_numpy(rows.soft).to(device) if len(rows.soft) else None


class Batch:
    """Hold members of one shape on a device, (P, members, outputs, 2n - 1) for their parameters, and train them.

    Args:
        courses: of one blueprint and number of steps, with as many rows in a step, which learn from the same rows.
        rows: those, on the device.
        caps: on the strength of features.
    """

    def __init__(self, courses: Sequence[Course], rows: DeviceRows, caps: Sequence[Cap] = ()) -> None:
        self._courses, self._rows, self._caps = courses, rows, caps
        self._plan, self._device = courses[0].plan, rows.target.device
        self._expansion = Expansion(courses[0].blueprint.bases, self._device)
        curves = np.unique(np.concatenate([course.plan.active for course in courses]))
        self._curves = torch.from_numpy(curves).to(self._device)
        self._params = self._stacked([unpacked(c.blueprint, c.member.params) for c in courses], 1)
        self._anchor = self._stacked([unpacked(c.blueprint, c.member.anchor) for c in courses], 1)
        self._moments = torch.zeros_like(self._params), torch.zeros_like(self._params)
        self._taken = 0
        self._offset = self._stacked([course.member.offset for course in courses])
        self._offset_moments = torch.zeros_like(self._offset), torch.zeros_like(self._offset)
        self._penalty = self._stacked([course.penalty for course in courses], 1)[..., None, None]
        # Curves that a member leaves out stay at zero, though rows stand on them.
        self._active = self._stacked([course.active for course in courses], 1)[..., None, None]

    def train(self, go_on: Callable[[int], bool]) -> None:
        """Take all steps, or those before ``go_on`` is false; it is called with the steps done."""
        rates = self._stacked([course.rates for course in self._courses], 1)
        ends = [course.steps_per_epoch for course in self._courses]
        done = 0
        for chosen in _chosen_rows(self._courses):
            for rows in torch.from_numpy(chosen).to(self._device):
                self._step(rows.long(), rates[done], done + 1)
                done = self._taken = done + 1
                stopped = not go_on(done)
                for g, end in enumerate(ends if self._caps else ()):
                    if done % end == 0 or done == len(rates) or stopped:
                        self._cap(g)
                if stopped:
                    return

    def members(self) -> Iterator[TrainedMember]:
        """Yield the members as they are, with their scores of the rows that they have not seen."""
        with torch.no_grad():
            table = self._expansion(self._params)
        params, offsets = self._params.cpu().numpy(), self._offset.cpu().numpy()
        for g, course in enumerate(self._courses):
            scores = np.empty((len(course.held), self._plan.num_outputs))
            for first in range(0, len(course.held), SCORED_ROWS):
                part = slice(first, first + SCORED_ROWS)
                rows = torch.from_numpy(course.held[part]).to(self._device)[None]
                entries = self._gather(table[:, g : g + 1], rows)
                scores[part] = (self._solve(entries)[0] + self._offset[g]).view(-1, scores.shape[1]).cpu().numpy()
            yield TrainedMember(packed(course.blueprint, params[:, g]), offsets[g], scores, self._taken)

    def _step(self, rows: Tensor, rates: Tensor, count: int) -> None:
        """Take a step: rows (members, batch), rates (members,), the count of the step from 1."""
        free = self._params.detach().requires_grad_()
        entries = self._gather(self._expansion(free), rows)
        values, vectors = self._solve(entries.detach())
        plan, table = self._plan, self._rows
        soft = None if table.soft is None else table.soft[rows]
        slopes = batch_slopes(
            plan.loss, plan.loss_parameter, values + self._offset[:, None], table.target[rows].double(), soft
        )
        slopes *= (table.sample_weight[rows] / rows.shape[1])[..., None]
        pairs = 2.0 * vectors[..., :-1] * vectors[..., 1:]
        by_entry = slopes[..., None] * torch.cat([vectors * vectors, pairs], -1)
        (slope,) = torch.autograd.grad(entries, free, by_entry.to(entries.dtype))
        slope = torch.where(self._active, slope + (self._params - self._anchor) * self._penalty, 0.0)
        _adam(self._params, slope, self._moments, rates[:, None, None], count)
        _adam(self._offset, slopes.sum(1), self._offset_moments, rates[:, None], count)

    def _gather(self, table: Tensor, rows: Tensor) -> Tensor:
        """Return the matrices' entries of rows (members, B): table (R, members, O, W) -> (members, B, O, W)."""
        matrices, members, outputs, width = table.shape
        starts = self._rows.starts[rows[..., None], self._curves].long()
        ahead = self._rows.weights[rows[..., None], self._curves]
        constant = torch.full_like(starts[..., :1], matrices - 1)
        places = torch.cat([starts, starts + 1, constant], -1)
        places = places * members + torch.arange(members, device=self._device)[:, None, None]
        weights = torch.cat([1.0 - ahead, ahead, torch.ones_like(ahead[..., :1])], -1)
        entries = embedding_bag(
            places.flatten(0, 1),
            table.reshape(matrices * members, outputs * width),
            per_sample_weights=weights.flatten(0, 1),
            mode="sum",
        )
        return entries.view(*rows.shape, outputs, width)

    def _solve(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (members, B, O) and unit eigenvectors (..., n), in float64."""
        n = self._plan.dim
        flat = entries.flatten(0, 2).double()
        values, vectors = eigenpairs(flat[:, :n].contiguous(), flat[:, n:].contiguous(), self._plan.eig_idx, 0)
        return values.view(entries.shape[:-1]), vectors.view(*entries.shape[:-1], n)

    def _cap(self, g: int) -> None:
        params = self._params[:, g].cpu().numpy()
        for cap in self._caps:
            cap.project(params)
        self._params[:, g] = torch.from_numpy(params).to(self._device)

    def _stacked(self, arrays: Sequence[NDArray[Any]], axis: int = 0) -> Tensor:
        return torch.from_numpy(np.stack(arrays, axis)).to(self._device)


def _adam(params: Tensor, slope: Tensor, moments: tuple[Tensor, Tensor], rate: Tensor, count: int) -> None:
    """Take the step of ``epoch._step``, in place."""
    mean, square = moments
    mean.mul_(BETA_1).add_(slope, alpha=1.0 - BETA_1)
    square.mul_(BETA_2).addcmul_(slope, slope, value=1.0 - BETA_2)
    size = (rate / (1.0 - BETA_1**count)).to(params.dtype)
    params.sub_(mean * size / ((square / (1.0 - BETA_2**count)).sqrt() + ADAM_EPSILON))


def _chosen_rows(courses: Sequence[Course]) -> Iterator[NDArray[np.int32]]:
    """Yield the rows of the next steps of all members, (steps, members, batch)."""
    parts = [_steps_of(course) for course in courses]
    for rows in zip(*parts, strict=True):
        yield np.stack(rows, 1)


def _steps_of(course: Course) -> Iterator[NDArray[np.int32]]:
    """Yield the rows of the next STEPS_AHEAD steps of a member, (steps, batch)."""
    waiting = np.empty((0, course.batch), np.int32)
    for first, order in course.epochs():
        steps = min(course.steps_per_epoch, len(course.rates) - first)
        epoch = order[: steps * course.batch].astype(np.int32).reshape(steps, course.batch)
        waiting = np.concatenate([waiting, epoch])
        while len(waiting) >= STEPS_AHEAD:
            yield waiting[:STEPS_AHEAD]
            waiting = waiting[STEPS_AHEAD:]
    if len(waiting):
        yield waiting
