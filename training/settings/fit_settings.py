"""Read and check the options of a fit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from eigenserve.errors import UserError
from eigenserve.model.predictor import Task
from eigenserve.training.curves.basis import CurveShape
from eigenserve.training.kernels.losses import DEVIANCE_LOSSES, RegressionLink, RegressionLoss

#: The size that a search starts from, and those that it may go on to.
USUAL_DIM = 15
SIZES = (7, 15, 25)
#: Members by size. They take 1.2 to 1.4 times as long to predict with as 12 of size 15 (20 features). Measured out of
#: fold (wine quality): the mean of six is 3% better by squared error than that of three, and that of infinitely many
#: would be 3% better than that of twelve.
MEMBERS = {7: 20, 15: 16, 25: 10}


@dataclass(frozen=True)
class FitSettings:
    """Hold the settings of a fit; the defaults need no tuning.

    Attributes:
        task: regression, binary, multiclass or poisson; None to infer it from the target.
        dim: size n of the tridiagonal matrices; None to let the search choose.
        members: spectral neurons per output whose mean is the score; None for as many as the size allows.
        eig_idx: which eigenvalue, from zero; None for the middle one.
        pairs: pairs of features with a separate term; None to find them.
        features: columns to use; empty for all.
        exclude: columns to leave out.
        curves: "piecewise" for a path through matrices per feature, "linear" for the plain affine pencil.
        epochs: passes over the rows in the training of the finished members; None to let the search choose.
        batch: rows in a step; None for an eighth of the rows within 32 and 256.
        learning_rate: the peak of the one-cycle schedule; None for 0.01, or 0.06 for linear curves.
        loss: of a regression: auto, squared, huber, absolute, quantile, gamma (positive costs) or tweedie (costs that
            may be zero).
        quantile: which one, for the loss of that name.
        power: of Tweedie's variance, between 1 (counts) and 2 (gamma), for the loss of that name.
        link: of a regression: identity for a score on the target's scale, log for its logarithm, auto for the better.
        monotone: (feature, "+" or "-"): the score must never fall, or never rise, along it.
        convex, concave: features along which the score must be so, within the range of the training rows. That takes
            the largest or the smallest eigenvalue, so only one of them can be asked for.
        max_strength: (feature, the most that the score may change by per unit of it, or from one category to
            another).
        weight: column that says how much each row counts.
        exposure: column of how much was observed in each row (years, claims), for counts and costs (the task poisson,
            the losses gamma and tweedie); the model then predicts per unit of exposure.
        offset: column of logarithms that belong to the score as they are, for the same; the model then predicts what is
            multiplied by their exponentials.
        teacher: column or file of a stronger model's predictions or probabilities, best of rows that it has not seen;
            members learn from a mixture of them and the labels that is chosen out of fold.
        class_weight: "balanced" to let all classes count the same; probabilities are then those of a
            population with equally many of each.
        budget: seconds that the whole fit may take, training on all rows and the report included.
        reproducible: plan for the machine of the cost model, and never cut the plan short by the clock: the same data
            and settings then give the same bytes however fast or busy this one is, and may take longer than the budget.
            Fits with ``epochs`` are so as well.
        stable: of blends that are as good out of fold, to a standard error, choose the one whose explanations move
            least when a row moves a little; takes the training of up to eight more members.
        max_memory: bytes that the process may use; None for half of what is free, with what it has.
        seed: of everything random.
        groups: column whose rows of one value are judged together: never trained on and judged by each other.
        time: column of times; the latest rows are judged by what is trained on earlier ones.
        positive: of two classes, the one whose probability is predicted; None for the last in order.
        decimal: the decimal mark of numbers that are written as texts; None to infer it.
        date_format: (column, format) of dates that are not in ISO 8601; "" for all columns. Others are inferred.
        missing: texts for a missing value instead of the usual ones, or COLUMN=TEXT|TEXT for one column; None for
            the usual ones.
        types: (column, number, category, date, time or boolean) where the type is not to be inferred.
        device: where members are trained: cpu, cuda or cuda:N; torch-cpu does on the CPU what cuda does, slower, for
            checks where there is no GPU.
    """

    task: Task | None = None
    dim: int | None = None
    members: int | None = None
    eig_idx: int | None = None
    pairs: tuple[tuple[str, str], ...] | None = None
    features: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    curves: CurveShape = "piecewise"
    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    loss: RegressionLoss = "auto"
    quantile: float = 0.5
    power: float = 1.5
    link: RegressionLink = "auto"
    monotone: tuple[tuple[str, str], ...] = ()
    convex: tuple[str, ...] = ()
    concave: tuple[str, ...] = ()
    max_strength: tuple[tuple[str, float], ...] = ()
    weight: str | None = None
    exposure: str | None = None
    offset: str | None = None
    teacher: str | None = None
    class_weight: Literal["none", "balanced"] = "none"
    budget: float = 60.0
    reproducible: bool = False
    stable: bool = False
    max_memory: float | None = None
    seed: int = 0
    groups: str | None = None
    time: str | None = None
    positive: str | None = None
    decimal: str | None = None
    date_format: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] | None = None
    types: tuple[tuple[str, str], ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        _require(self.task in (None, *get_args(Task)), f"task must be one of {_list(Task)}; got {self.task!r}")
        _require(
            self.curves in get_args(CurveShape),
            f"curves must be one of {_list(CurveShape)}; got {self.curves!r}",
        )
        for name in ("dim", "members", "epochs", "batch"):
            value = getattr(self, name)
            _require(value is None or (_whole(value) and value >= 1), f"{name} must be at least 1; got {value!r}")
        _require(_whole(self.seed) and self.seed >= 0, f"seed must be a whole number from 0; got {self.seed!r}")
        for name in ("features", "exclude", "convex", "concave"):
            value = getattr(self, name)
            _require(
                isinstance(value, tuple) and all(isinstance(column, str) for column in value),
                f"{name} must be a list of columns; got {value!r}",
            )
        for name in ("monotone", "max_strength"):
            named = [feature for feature, _ in getattr(self, name)]
            _require(len(set(named)) == len(named), f"{name} must name each feature once; got {', '.join(named)}")
        _require(self.usual_dim <= 512, f"dim must be at most 512; got {self.dim}")
        k = self.eig_idx
        dim = self.usual_dim
        _require(k is None or (_whole(k) and 0 <= k < dim), f"eig_idx must be in [0, {dim}); got {k!r}")
        _require(not (self.convex and self.concave), "convex and concave features cannot be in one model")
        if self.convex or self.concave:
            wanted = self.resolved_eig_idx
            _require(k in (None, wanted), f"{'convex' if self.convex else 'concave'} needs eig_idx {wanted}; got {k}")
        for feature, value in self.max_strength:
            most = f"max_strength of {feature!r} must be above 0 and finite; got {value!r}"
            _require(_number(value) and 0 < value < float("inf"), most)
        for name, high in (("learning_rate", 1.0), ("quantile", 1.0), ("budget", 1e9)):
            value = getattr(self, name)
            _require(
                (name == "learning_rate" and value is None) or (_number(value) and 0 < value < high),
                f"{name} must be above 0 and below {high:g}; got {value!r}",
            )
        _require(self.positive is None or isinstance(self.positive, str), "positive must be a class")
        _require(self.decimal in (None, ".", ","), f"decimal must be . or ,; got {self.decimal!r}")
        memory = self.max_memory
        _require(
            memory is None or (_number(memory) and memory > 0), f"max_memory must be above 0 bytes; got {memory!r}"
        )
        for name in ("weight", "exposure", "offset", "teacher", "groups", "time"):
            value = getattr(self, name)
            _require(value is None or isinstance(value, str), f"{name} must be a column; got {value!r}")
        _require(
            self.loss in get_args(RegressionLoss),
            f"loss must be one of {_list(RegressionLoss)}; got {self.loss!r}",
        )
        _require(
            self.link in get_args(RegressionLink), f"link must be one of {_list(RegressionLink)}; got {self.link!r}"
        )
        _require(
            self.quantile == 0.5 or self.loss == "quantile",
            f"quantile {self.quantile:g} needs the loss quantile; the loss is {self.loss}",
        )
        _require(
            self.power == 1.5 or self.loss == "tweedie",
            f"power {self.power:g} needs the loss tweedie; the loss is {self.loss}",
        )
        _require(_number(self.power) and 1 < self.power < 2, f"power must be between 1 and 2; got {self.power!r}")
        costs = self.loss in DEVIANCE_LOSSES
        if self.link == "log" or costs:
            restricted = (self.loss != "auto" and not costs) or self.concave or self.max_strength
            _require(
                not restricted,
                "link log requires the loss auto, gamma or tweedie, and excludes concave and capped features",
            )
        _require(not costs or self.link != "identity", f"loss {self.loss} has the link log; got {self.link}")
        _require(
            isinstance(self.device, str) and re.fullmatch(r"cpu|torch-cpu|cuda(:\d{1,3})?", self.device) is not None,
            f"device must be cpu, cuda or cuda:N; got {self.device!r}",
        )
        _require(
            self.class_weight in ("none", "balanced"),
            f"class_weight must be none or balanced; got {self.class_weight!r}",
        )

    @property
    def bent(self) -> frozenset[str]:
        """Return the features along which the score is to be convex or concave."""
        return frozenset({*self.convex, *self.concave})

    @property
    def shaped(self) -> frozenset[str]:
        """Return the features along which something is promised of the score."""
        return self.bent | {name for name, _ in (*self.monotone, *self.max_strength)}

    @property
    def peak_learning_rate(self) -> float:
        """Return the learning rate, measured best on California housing unless given."""
        return self.learning_rate or (0.01 if self.curves == "piecewise" else 0.06)

    def deviance_power(self, task: Task) -> float | None:
        """Return the power of Tweedie's deviance that a fit of this task minimises; None where it minimises another."""
        if task == "poisson":
            return 1.0
        costs = {"gamma": 2.0, "tweedie": self.power}
        return costs.get(self.loss) if task == "regression" else None

    @property
    def by_plan_alone(self) -> bool:
        """Say whether no clock and no measured speed may change the model."""
        return self.reproducible or self.epochs is not None

    @property
    def clock_s(self) -> float:
        """Return the seconds by which a clock ends a fit that is behind its plan."""
        return math.inf if self.by_plan_alone else self.budget

    @property
    def usual_dim(self) -> int:
        """Return the size that a search starts from."""
        return USUAL_DIM if self.dim is None else self.dim

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the sizes that come into question: one where it is given, or where the eigenvalue is."""
        free = self.dim is None and self.eig_idx is None and self.epochs is None
        return SIZES if free and self.curves == "piecewise" and not (self.convex or self.concave) else (self.usual_dim,)

    def members_of(self, dim: int) -> int:
        """Return how many members of a size a finished model has."""
        return self.members or (MEMBERS.get(dim, MEMBERS[USUAL_DIM]) if self.dim is None else MEMBERS[USUAL_DIM])

    @property
    def resolved_eig_idx(self) -> int:
        """Return the eigenvalue's index: the middle one unless given otherwise, or a shape needs another."""
        if self.convex or self.concave:
            return self.usual_dim - 1 if self.convex else 0
        return self.usual_dim // 2 if self.eig_idx is None else self.eig_idx


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise UserError(message)


def _list(literal: Any) -> str:
    return ", ".join(get_args(literal))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
