"""The fused float32 kernel takes the steps that PyTorch's autograd and Adam take in float64."""

import numpy as np
import pytest
import torch
from tests.support.twin import CURVES, random_rows, slow_coordinates, slow_curve_matrix
from torch.nn import functional

from eigenserve.training.curves.basis import line_and_ramps
from eigenserve.training.kernels.epoch import BETA_1, BETA_2, member_scores, train_epoch
from eigenserve.training.kernels.layout import (
    BLOCK,
    DENSE,
    IDENTITY,
    RAMPS,
    Member,
    Plan,
    Rows,
    blocks_per_matrix,
    float_rows,
    workspace,
)
from eigenserve.training.kernels.losses import (
    GAMMA,
    HUBER,
    LOGISTIC,
    POISSON,
    QUANTILE,
    SOFTMAX,
    SQUARED,
    TWEEDIE,
    best_constant,
    loss_slopes,
    losses,
)

KINDS = {
    "squared": SQUARED,
    "huber": HUBER,
    "quantile": QUANTILE,
    "logistic": LOGISTIC,
    "softmax": SOFTMAX,
    "poisson": POISSON,
    "gamma": GAMMA,
    "tweedie": TWEEDIE,
}
DELTA = 0.3  # of Huber's loss, or the quantile
POWER = 1.4  # of Tweedie's deviance


def parameter_of(loss):
    return POWER if loss == TWEEDIE else DELTA


def random_target(rng, loss, count):
    """Draw targets that the loss is for."""
    if loss in (GAMMA, TWEEDIE):
        zero = rng.uniform(size=count) < (0.4 if loss == TWEEDIE else 0.0)
        return np.where(zero, 0.0, rng.gamma(2.0, 0.5, count))
    return rng.integers(0, 3 if loss in (SOFTMAX, POISSON) else 2, count).astype(float)


IDLE = 3  # the curve that is not in use


class Problem:
    """One member's training problem, as the kernel reads it and as dense float64 tensors."""

    def __init__(self, loss, dim, count, seed=0):
        rng = np.random.default_rng(seed)
        self.dim, self.outputs = dim, 3 if loss == SOFTMAX else 1
        # Curves take turns: trained through a matrix, as a line and ramps if they can be, as they are.
        sizes = [curve.num_matrices for curve in CURVES.curves]
        forms = [(RAMPS, IDENTITY, DENSE)[c % 3] for c in range(len(sizes))]
        bases, flat, offsets = [], [], [0]
        for c, curve in enumerate(CURVES.curves):
            knots, basis = np.array(curve.knots), np.eye(sizes[c])
            if forms[c] == RAMPS and (curve.num_paths > 1 or len(knots) < 3):
                forms[c] = DENSE
            if forms[c] == RAMPS:
                ramps = line_and_ramps(knots)
                basis[: len(ramps), : len(ramps)] = ramps
            elif forms[c] == DENSE:
                basis = rng.standard_normal((sizes[c], sizes[c] + 1))
            bases.append(basis)
            flat.append({DENSE: basis.ravel(), RAMPS: knots}.get(forms[c], np.empty(0)))
            offsets.append(offsets[-1] + len(flat[-1]))
        assert set(forms) == {DENSE, RAMPS, IDENTITY}
        # All curves but one are in use; the parameters of the other stay as they are.
        self.active = np.array([c for c in range(len(sizes)) if c != IDLE])
        self.plan = Plan(
            active=self.active,
            matrix_offsets=np.cumsum([0, *sizes, 1]),
            param_offsets=np.cumsum([0, *(basis.shape[1] for basis in bases), 1]),
            basis=np.concatenate(flat).astype(np.float32),
            basis_offsets=np.array(offsets),
            forms=np.array([*forms, IDENTITY]),
            dim=dim,
            num_outputs=self.outputs,
            eig_idx=dim // 2,
            loss=loss,
            loss_parameter=parameter_of(loss),
            steps=np.array([(curve.num_paths, len(curve.knots), 0) for curve in CURVES.curves]),
        )
        self.bases = [torch.tensor(basis.astype(np.float32), dtype=torch.float64) for basis in bases]
        z = np.array([slow_coordinates(row) for row in random_rows(count, seed)])
        self.walked = [
            torch.tensor(np.array([slow_curve_matrix(curve, np.eye(curve.num_matrices), row) for row in z]))
            for curve in CURVES.curves
        ]
        target = {
            LOGISTIC: rng.integers(0, 2, count),
            SOFTMAX: rng.integers(0, 3, count),
            POISSON: rng.poisson(1.5, count),
            GAMMA: random_target(rng, GAMMA, count),
            TWEEDIE: random_target(rng, TWEEDIE, count),
        }.get(loss, rng.standard_normal(count))
        walk = CURVES.walk(z)
        self.rows = Rows(
            starts=walk.starts,
            weights=walk.weights.astype(np.float32),
            target=target.astype(np.float32),
            sample_weight=rng.uniform(0.5, 1.5, count).astype(np.float32),
        )
        params = int(self.plan.param_offsets[-1])
        self.values = 0.2 * rng.standard_normal((params, self.outputs, 2 * dim - 1))
        self.values[-1, :, dim:] += 1.0
        self.values = self.values.astype(np.float32).astype(np.float64)
        idle = slice(self.plan.param_offsets[IDLE], self.plan.param_offsets[IDLE + 1])
        self.values[idle] = 0.0
        self.anchor = (0.1 * rng.standard_normal(self.values.shape)).astype(np.float32).astype(np.float64)
        self.anchor[idle] = 0.0
        self.offset = rng.standard_normal(self.outputs)
        self.penalty = rng.uniform(0.0, 0.1, params).astype(np.float32)

    def member(self):
        blocks = blocks_per_matrix(self.dim, self.outputs)
        params = float_rows(len(self.values) * blocks)
        self.unpacked(params)[:] = self.values
        anchor = float_rows(len(params))
        self.unpacked(anchor)[:] = self.anchor
        return Member(
            params=params,
            anchor=anchor,
            moment_1=float_rows(len(params)),
            moment_2=float_rows(len(params)),
            offset=self.offset.copy(),
            offset_moments=np.zeros((self.outputs, 2)),
            steps=np.zeros(1, np.int64),
        )

    def unpacked(self, rows):
        """The kernel's rows of parameters as a view (P, O, 2n - 1)."""
        return rows.reshape(len(self.values), self.outputs, -1)[:, :, : 2 * self.dim - 1]

    def train(self, member, batch, rates, order=None):
        order = np.arange(len(self.rows.target)) if order is None else order
        train_epoch(
            self.plan,
            self.rows,
            order,
            batch,
            np.asarray(rates, np.float64),
            self.penalty,
            member,
            workspace(self.plan, batch),
        )

    def slow_scores(self, values, offset, chosen):
        """Scores (N, O) of the chosen rows, by dense matrices and LAPACK."""
        flat, at = values[-1], 0
        for c, (basis, walked) in enumerate(zip(self.bases, self.walked, strict=True)):
            count = basis.shape[1]
            if c != IDLE:
                table = torch.einsum("rp,poe->roe", basis, values[at : at + count])
                flat = flat + torch.einsum("nr,roe->noe", walked[chosen], table)
            at += count
        n = self.dim
        matrices = torch.diag_embed(flat[..., :n])
        if n > 1:
            neighbours = torch.diag_embed(flat[..., n:], offset=1)
            matrices = matrices + neighbours + neighbours.mT
        return torch.linalg.eigvalsh(matrices)[..., n // 2] + offset

    def slow_loss(self, values, offset, chosen):
        scores = self.slow_scores(values, offset, chosen)
        target = torch.tensor(self.rows.target, dtype=torch.float64)[chosen]
        each = {
            SQUARED: lambda: 0.5 * functional.mse_loss(scores[:, 0], target, reduction="none"),
            HUBER: lambda: functional.huber_loss(scores[:, 0], target, delta=DELTA, reduction="none"),
            QUANTILE: lambda: torch.maximum(DELTA * (target - scores[:, 0]), (DELTA - 1) * (target - scores[:, 0])),
            LOGISTIC: lambda: functional.binary_cross_entropy_with_logits(scores[:, 0], target, reduction="none"),
            SOFTMAX: lambda: functional.cross_entropy(scores, target.long(), reduction="none"),
            POISSON: lambda: functional.poisson_nll_loss(scores[:, 0], target, reduction="none"),
            GAMMA: lambda: target * torch.exp(-scores[:, 0]) + scores[:, 0],
            TWEEDIE: lambda: (
                torch.exp((2.0 - POWER) * scores[:, 0]) / (2.0 - POWER)
                - target * torch.exp((1.0 - POWER) * scores[:, 0]) / (1.0 - POWER)
            ),
        }[self.plan.loss]()
        return (each * torch.tensor(self.rows.sample_weight, dtype=torch.float64)[chosen]).mean()


@pytest.mark.parametrize("loss", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("dim", "count"), [(1, 16), (2, 40), (7, 33), (15, 64), (20, 19)])
def test_slopes_of_all_parameters_are_those_of_autograd(loss, dim, count):
    problem = Problem(loss, dim, count, seed=dim)
    member = problem.member()
    problem.train(member, count, [0.0])
    values = torch.tensor(problem.values, requires_grad=True)
    offset = torch.tensor(problem.offset, requires_grad=True)
    problem.slow_loss(values, offset, slice(None)).backward()
    expected = values.grad.numpy() + problem.penalty[:, None, None] * (problem.values - problem.anchor)
    # After one step from rest the first moment is (1 - beta_1) times the slope.
    found = problem.unpacked(member.moment_1) / (1.0 - BETA_1)
    # float32 eigenvectors: 6e-8 ||T|| / gap, with ||T|| about 10 and gaps down to about 0.01.
    assert np.linalg.norm(found - expected) <= 3e-4 * np.linalg.norm(expected)
    found = member.offset_moments[:, 0] / (1.0 - BETA_1)
    np.testing.assert_allclose(found, offset.grad.numpy(), atol=2e-6)


@pytest.mark.parametrize("loss", KINDS.values(), ids=KINDS)
def test_steps_are_those_of_adam_on_the_penalised_loss(loss):
    count, batch, rates = 60, 20, [0.01, 0.02, 0.005]
    problem = Problem(loss, dim=5, count=count)
    member, order = problem.member(), np.random.default_rng(1).permutation(count)
    problem.train(member, batch, rates, order)
    values = torch.tensor(problem.values, requires_grad=True)
    offset = torch.tensor(problem.offset, requires_grad=True)
    # The learning rate is set before every step.
    optimiser = torch.optim.Adam([values, offset], betas=(BETA_1, BETA_2), eps=1e-8)
    penalty = torch.tensor(problem.penalty, dtype=torch.float64)[:, None, None]
    anchor = torch.tensor(problem.anchor)
    for step, rate in enumerate(rates):
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        chosen = order[step * batch : (step + 1) * batch]
        loss_now = problem.slow_loss(values, offset, chosen) + 0.5 * (penalty * (values - anchor) ** 2).sum()
        loss_now.backward()
        optimiser.step()
    assert member.steps[0] == 3
    moved = values.detach().numpy() - problem.values
    miss = problem.unpacked(member.params) - problem.values - moved
    # Adam divides by the size of a slope, so that a parameter whose slope is all rounding may go anywhere;
    # such are few.
    assert np.linalg.norm(miss) <= 0.02 * np.linalg.norm(moved)
    np.testing.assert_allclose(member.offset, offset.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(("dim", "count", "batch"), [(1, 5, 8), (7, 50, 16), (15, 100, 256), (20, 33, 32)])
def test_scores_of_a_member_are_dense_eigenvalues(dim, count, batch):
    problem = Problem(SOFTMAX, dim, count)
    member, scores = problem.member(), np.empty((count, 3))
    order = np.random.default_rng(2).permutation(count)
    space = workspace(problem.plan, batch)
    member_scores(problem.plan, problem.rows, order, member.params, member.offset, space, scores)
    expected = problem.slow_scores(torch.tensor(problem.values), torch.tensor(problem.offset), order)
    # 1e-6 of the spectrum's width, as the training solver promises, and float32 sums of numbers near 10.
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-4)


def test_padding_and_curves_out_of_use_stay_zero():
    problem = Problem(SQUARED, dim=5, count=40)
    member = problem.member()
    problem.train(member, 20, [0.1, 0.1])
    first, last = problem.plan.param_offsets[IDLE : IDLE + 2]
    assert not problem.unpacked(member.params)[first:last].any()
    assert problem.unpacked(member.params)[:first].all()
    assert BLOCK > 9
    assert not member.params.reshape(len(problem.values), 1, -1)[:, :, 9:].any()


@pytest.mark.parametrize("loss", KINDS.values(), ids=KINDS)
def test_slopes_of_losses_are_central_differences(loss):
    rng = np.random.default_rng(3)
    outputs = 3 if loss == SOFTMAX else 1
    scores = rng.normal(0.0, 2.0, (100, outputs))
    target = random_target(rng, loss, 100)
    h, slopes = 1e-6, np.empty(outputs)
    for j in range(100):
        loss_slopes(loss, parameter_of(loss), scores[j], target[j], slopes)
        for o in range(outputs):
            step = np.eye(outputs)[o] * h
            ahead, behind = (
                losses(loss, parameter_of(loss), scores[j : j + 1] + s, target[j : j + 1]) for s in (step, -step)
            )
            # Rounding eps/h of losses up to e^6, and curvature h^2; at Huber's bend half a step, 1e-6.
            assert abs(slopes[o] - (ahead - behind)[0] / (2 * h)) < 1e-6


def test_losses_and_slopes_of_extreme_scores_are_finite():
    slopes = np.empty(1)
    for loss in (SQUARED, HUBER, LOGISTIC, POISSON, GAMMA, TWEEDIE):
        for score in (-1e4, 1e4):
            loss_slopes(loss, parameter_of(loss), np.array([score]), 1.0, slopes)
            assert np.isfinite(slopes).all()
            assert np.isfinite(losses(loss, parameter_of(loss), np.array([[score]]), np.array([1.0]))).all()
    slopes = np.empty(3)
    loss_slopes(SOFTMAX, DELTA, np.array([-1e4, 0.0, 1e4]), 1.0, slopes)
    assert slopes.tolist() == [0.0, -1.0, 1.0]


@pytest.mark.parametrize("loss", [SQUARED, LOGISTIC, SOFTMAX, POISSON, GAMMA, TWEEDIE])
def test_the_best_constant_cannot_be_bettered(loss):
    rng = np.random.default_rng(4)
    target = random_target(rng, loss, 5000)
    weight = rng.uniform(0.5, 1.5, 5000)
    best = best_constant(loss, parameter_of(loss), target, weight, 3 if loss == SOFTMAX else 2)

    def mean(scores):
        return np.average(losses(loss, parameter_of(loss), np.tile(scores, (5000, 1)), target), weights=weight)

    for move in 0.01 * rng.standard_normal((20, len(best))):
        # Half a row in each class moves the constant by 1e-4, and the loss by its square.
        assert mean(best) <= mean(best + move) + 1e-7
