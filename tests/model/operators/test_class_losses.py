"""Weighted classes and ignored targets: one matrix for any batches, that of the loss of all rows at once."""

from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy, mse_loss, nll_loss  # noqa: E402

from eigenserve.operators import FisherOperator, GaussNewtonOperator, HessianOperator  # noqa: E402

WEIGHTS = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)
ROWS = 12
LOSSES = {
    "weights": nn.CrossEntropyLoss(weight=WEIGHTS),
    "ignored": nn.CrossEntropyLoss(ignore_index=2),
    "both": nn.CrossEntropyLoss(weight=WEIGHTS, ignore_index=0),
    "smoothed": nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1),
    "weighted sum": nn.CrossEntropyLoss(weight=WEIGHTS, reduction="sum"),
    "likelihood": nn.NLLLoss(weight=WEIGHTS, ignore_index=1),
    "function": partial(cross_entropy, weight=WEIGHTS),
    "function of sums": partial(nll_loss, weight=WEIGHTS, reduction="sum"),
}


class Places(nn.Module):
    """(B, 4) -> scores of three classes in two places, (B, 3, 2)."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 6).double()

    def forward(self, x):
        return self.linear(x).view(len(x), 3, 2).log_softmax(1)


MODULES = {"one target": lambda: nn.Sequential(nn.Linear(4, 3).double(), nn.LogSoftmax(1)), "two targets": Places}


def case(kind="one target"):
    torch.manual_seed(1)
    module = MODULES[kind]()
    x = torch.randn(ROWS, 4, dtype=torch.float64)
    shape = (ROWS,) if kind == "one target" else (ROWS, 2)
    return module, x, torch.randint(0, 3, shape)


def in_batches(x, y, size):
    return list(zip(x.split(size), y.split(size), strict=True))


def by_rows(operator):
    return operator.matmat(torch.eye(operator.size, dtype=operator.dtype))


def exact(module, loss, x, y):
    """By torch's own Hessian of the loss of everything at once."""
    names, start = zip(*module.named_parameters(), strict=True)

    def total(vector):
        parts = vector.split([p.numel() for p in start])
        values = {name: part.view(p.shape) for name, part, p in zip(names, parts, start, strict=True)}
        return loss(torch.func.functional_call(module, values, (x,)), y)

    return torch.autograd.functional.hessian(total, torch.cat([p.detach().flatten() for p in start]))


@pytest.mark.parametrize("size", [ROWS, 5, 1])
@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("name", LOSSES)
def test_the_hessian_is_that_of_all_rows_at_once(name, kind, size):
    module, x, y = case(kind)
    truth = exact(module, LOSSES[name], x, y)
    operator = HessianOperator.from_module(module, LOSSES[name], in_batches(x, y, size))
    torch.testing.assert_close(by_rows(operator), truth, rtol=1e-10, atol=1e-12)
    whole = by_rows(GaussNewtonOperator.from_module(module, LOSSES[name], [(x, y)]))
    parts = by_rows(GaussNewtonOperator.from_module(module, LOSSES[name], in_batches(x, y, size)))
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_row_of_the_empirical_fisher_matrix_counts_by_its_weight(reduction):
    module, x, y = case()
    # As if rows of class 1 were there five times over, and those of class 2 not at all.
    loss = nn.CrossEntropyLoss(torch.tensor([1.0, 5.0, 0.3], dtype=torch.float64), ignore_index=2, reduction=reduction)
    again = torch.cat([torch.arange(ROWS)[y == 0], torch.arange(ROWS)[y == 1].repeat(5)])
    plain = nn.CrossEntropyLoss(reduction=reduction)
    truth = by_rows(FisherOperator.from_module(module, plain, [(x[again], y[again])]))
    for size in (ROWS, 5, 1):
        operator = FisherOperator.from_module(module, loss, in_batches(x, y, size))
        torch.testing.assert_close(by_rows(operator), truth, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_monte_carlo_fisher_matrix_with_weights_tends_to_gauss_newton(kind, reduction):
    module, x, y = case(kind)
    loss = nn.CrossEntropyLoss(WEIGHTS, ignore_index=0, reduction=reduction)
    # The same rows many times over are as many draws: 12,000, one part in a hundred, several deviations of it here.
    x, y = x.repeat(1000, 1), y.repeat(1000, *[1] * (y.ndim - 1))
    truth = by_rows(GaussNewtonOperator.from_module(module, loss, [(x, y)]))
    operator = FisherOperator.from_module(module, loss, in_batches(x, y, 5000), kind="monte-carlo")
    assert float(torch.linalg.norm(by_rows(operator) - truth) / torch.linalg.norm(truth)) < 0.08


def test_probabilities_of_classes_count_by_rows():
    module, x, _ = case("two targets")
    y = torch.randn(ROWS, 3, 2, dtype=torch.float64).softmax(1)
    loss = nn.CrossEntropyLoss()
    truth = exact(module, loss, x, y)
    operator = HessianOperator.from_module(module, nn.CrossEntropyLoss(), in_batches(x, y, 5))
    torch.testing.assert_close(by_rows(operator), truth, rtol=1e-10, atol=1e-12)
    many = [(x.repeat(1000, 1), y.repeat(1000, 1, 1))]
    drawn = FisherOperator.from_module(module, loss, many, kind="monte-carlo")
    assert float(torch.linalg.norm(by_rows(drawn) - truth) / torch.linalg.norm(truth)) < 0.08


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, t: cross_entropy(o, t, weight=WEIGHTS),
        lambda o, t: cross_entropy(o, t, ignore_index=1),
        lambda o, t: cross_entropy(o, t).sqrt(),
        lambda o, t: cross_entropy(o, t, reduction="sum"),
    ],
    ids=["weights", "ignored", "root", "sum"],
)
def test_a_loss_that_depends_on_the_batches_is_refused_with_what_to_do(loss):
    module, x, y = case()
    for make in (HessianOperator, GaussNewtonOperator, FisherOperator):
        with pytest.raises(ValueError, match=r"must be the mean over a batch's rows.*give torch's own loss"):
            make.from_module(module, loss, in_batches(x, y, 5))
    # One batch of all rows has a Hessian, whatever the loss.
    operator = HessianOperator.from_module(module, loss, [(x, y)])
    torch.testing.assert_close(by_rows(operator), exact(module, loss, x, y), rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="must be the mean over a batch's rows"):
        FisherOperator.from_module(module, loss, [(x, y)])


def test_a_function_may_be_a_mean_or_say_that_it_is_a_sum():
    module, x, y = case()
    target = torch.nn.functional.one_hot(y, 3).double()

    def squares(outputs, targets):
        return ((outputs - targets) ** 2).sum()

    squares.reduction = "sum"
    operator = HessianOperator.from_module(module, squares, in_batches(x, target, 5))
    torch.testing.assert_close(by_rows(operator), exact(module, squares, x, target), rtol=1e-10, atol=1e-12)
    mean = HessianOperator.from_module(module, lambda o, t: mse_loss(o, t), in_batches(x, target, 5))
    torch.testing.assert_close(by_rows(mean), exact(module, mse_loss, x, target), rtol=1e-10, atol=1e-12)


def test_mistakes_are_named():
    module, x, y = case()
    with pytest.raises(ValueError, match="all are ignored or of classes of weight 0"):
        HessianOperator.from_module(module, nn.CrossEntropyLoss(ignore_index=1), [(x, torch.ones_like(y))])
    with pytest.raises(ValueError, match="its reduction is none"):
        HessianOperator.from_module(module, nn.CrossEntropyLoss(reduction="none"), [(x, y)])
    places, _, pairs = case("two targets")
    with pytest.raises(ValueError, match=r"class weights need one target per row, or kind='monte-carlo'"):
        FisherOperator.from_module(places, nn.CrossEntropyLoss(WEIGHTS), [(x, pairs)])
    likely = torch.randn(ROWS, 3, dtype=torch.float64).softmax(1)
    for loss, targets, message in (
        (nn.CrossEntropyLoss(label_smoothing=0.1), y, "leave label_smoothing out"),
        (nn.CrossEntropyLoss(WEIGHTS), likely, "class weights need targets that are indices"),
        (nn.BCEWithLogitsLoss(pos_weight=WEIGHTS), likely, "weights of a binary cross entropy count no draws"),
    ):
        with pytest.raises(ValueError, match=message):
            FisherOperator.from_module(module, loss, [(x, targets)], kind="monte-carlo")
