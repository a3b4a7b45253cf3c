"""to_model and from_model: from a trained module to a model that is saved and served, and back to fine-tune it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble as ServedEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.predictor import ClassLabel, Task
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel
from eigenserve.model.torch.curves import PiecewiseCurves
from eigenserve.model.torch.ensemble import SpectralEnsemble
from eigenserve.model.torch.layers import SpectralLayer

#: Half the training range that a feature is taken to have where no rows are given, in units of its scale.
DEFAULT_REACH = 3.0


def to_model(
    module: nn.Module,
    *,
    features: FeatureSpace | Sequence[str | Feature] | None = None,
    target: str | None = None,
    task: Task = "regression",
    classes: Sequence[ClassLabel] = (),
    center: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    rows: ArrayLike | None = None,
    target_center: float = 0.0,
    target_scale: float = 1.0,
    log_link: bool = False,
    like: SpectralModel | None = None,
) -> SpectralModel:
    """Return the served model that scores as a module does: the same numbers, in float64, for the same inputs.

    A missing value takes the curve's matrix for that; where there is none the module gives NaN, and the model takes the
    training median.

    Args:
        module: a `SpectralNeuron`, `SpectralLayer` or `SpectralEnsemble`, or ``nn.Sequential(PiecewiseCurves, one of
            them)``, without smoothing. Its outputs are scores: predictions of a regression, or what the task's link
            takes (one logit of the second of two classes, one of each of several, a logarithm).
        features: the columns that the module's inputs are, in order: names of numbers, or `Feature` objects.
        target: the name of what is predicted.
        task: "regression", "binary", "multiclass" or "poisson".
        classes: the labels of a classifier in the order of its outputs: two for "binary", whose only output is the
            second one's logit, or one for each output of "multiclass".
        log_link: whether a regression's output is the logarithm of its prediction.
        center, scale: of features given by name: the module's inputs are (raw - center) / scale, as a StandardScaler's
            ``mean_`` and ``scale_``; a number for all or one each.
        rows: raw training rows (N, F), from which medians and training ranges are taken; without them, the range is
            the center and three scales to either side.
        target_center, target_scale: the module predicts (target - target_center) / target_scale.
        like: a model whose features, target, task, classes, link and names of terms this one has: for fine-tuning.

    Raises:
        TypeError: a module that is none of these.
        ValueError: a smoothed eigenvalue, another task, sizes that do not match, scales that are not positive, or a
            `Feature` without ``missing`` whose curve has a matrix for missing values.
    """
    curves, scorer = _parts(module)
    heads = scorer.heads if isinstance(scorer, SpectralEnsemble) else scorer
    if heads.smoothing is not None:
        raise ValueError("a served model scores eigenvalues themselves: set smoothing to None, and train on a little")
    if not (np.isfinite(target_scale) and target_scale > 0):
        raise ValueError(f"target_scale must be positive and finite; got {target_scale}")
    if like is not None:
        space, target, task, classes, log_link = like.features, like.target, like.task, like.classes, like.log_link
    elif features is None or target is None:
        raise ValueError("to_model needs features and target (or like, a model that has them)")
    else:
        space = _feature_space(features, center, scale, rows, () if curves is None else curves.curve_set.curves)
    table = _numbers(heads.exact_matrices())
    if curves is None:
        used, table = _straight_curves(table)
    else:
        used = curves.curve_set.curves
        table = np.concatenate([np.einsum("rq,qhe->rhe", curves.sums(), table[:-1]), table[-1:]])
    needed = 1 + max(i for curve in used for i in (*curve.numeric, *curve.categorical, 0))
    if needed > len(space):
        raise ValueError(f"the module takes {needed} inputs; got {len(space)} features")
    if curves is None and heads.in_features != len(space):
        raise ValueError(f"the module takes {heads.in_features} inputs; got {len(space)} features")
    _check_missing(used, space)
    members, offset = np.ones(1), np.zeros(heads.out_features)
    if isinstance(scorer, SpectralEnsemble):
        members, offset = _numbers(scorer.member_weights), _numbers(scorer.offset)
    table, n = table * target_scale, heads.dim
    pencil = TridiagonalPencil(
        terms=_terms(used, space) if like is None else like.ensemble.pencil.terms,
        curves=CurveSet(used),
        constant_diag=table[-1, :, :n],
        constant_off_diag=table[-1, :, n:],
        diag=table[:-1, :, :n],
        off_diag=table[:-1, :, n:],
    )
    ensemble = ServedEnsemble(pencil, heads.eig_idx, members, target_center + target_scale * offset)
    return SpectralModel(task, target, space, ensemble, tuple(classes), log_link=log_link)


def from_model(model: SpectralModel) -> nn.Sequential:
    """Return a served model as a module, float64: coordinates (N, F) -> scores (N, O), the same to rounding.

    Coordinates are ``model.features.coordinates(model.features.encode(rows))``. The module is ``nn.Sequential(
    PiecewiseCurves, SpectralEnsemble)``; after training, ``to_model(module, like=model)`` gives a model again. Curves
    that the model has monotone are free in the module.
    """
    ensemble, pencil = model.ensemble, model.ensemble.pencil
    scorer = SpectralEnsemble(
        pencil.curves.num_matrices,
        ensemble.num_outputs,
        pencil.dim,
        ensemble.eig_idx,
        len(ensemble.member_weights),
        dtype=torch.float64,
    )
    constant = np.concatenate([pencil.constant_diag, pencil.constant_off_diag], -1)
    table = np.concatenate([np.concatenate([pencil.diag, pencil.off_diag], -1), constant[None]])
    with torch.no_grad():
        scorer.heads.matrices.copy_(torch.from_numpy(table))
        scorer.member_weights.copy_(torch.tensor(ensemble.member_weights))
        scorer.offset.copy_(torch.tensor(ensemble.offset))
    return nn.Sequential(PiecewiseCurves(pencil.curves.curves, in_features=len(model.features)), scorer).double()


def _parts(module: nn.Module) -> tuple[PiecewiseCurves | None, SpectralLayer | SpectralEnsemble]:
    parts = list(module) if isinstance(module, nn.Sequential) else [module]
    first, last = (parts[0] if len(parts) > 1 else None), (parts[-1] if parts else None)
    if (
        len(parts) > 2
        or not isinstance(first, PiecewiseCurves | None)
        or not isinstance(last, SpectralLayer | SpectralEnsemble)
    ):
        got = ", ".join(type(part).__name__ for part in parts) or "an empty Sequential"
        raise TypeError(f"a served model is one spectral layer, behind PiecewiseCurves or not; got {got}")
    if first is not None and first.out_features != last.in_features:
        raise ValueError(
            f"the curves have {first.out_features} matrices, and the layer takes {last.in_features} inputs"
        )
    return first, last


def _numbers(tensor: torch.Tensor) -> FloatArray:
    return np.asarray(tensor.detach().double().cpu().numpy())


def _straight_curves(table: FloatArray) -> tuple[tuple[Curve, ...], FloatArray]:
    """Return x M for every input as the straight curve from 0 at zero to M at one, continued both ways."""
    used = tuple(
        Curve(term=i, numeric=(i,), direction=(1.0,), knots=(0.0, 1.0), extend=True) for i in range(len(table) - 1)
    )
    knots = np.zeros((2 * len(used) + 1, *table.shape[1:]))
    knots[1:-1:2], knots[-1] = table[:-1], table[-1]
    return used, knots


def _terms(curves: Sequence[Curve], space: FeatureSpace) -> tuple[Term, ...]:
    """Return the terms of curves, each named after its features."""
    members: dict[int, list[int]] = {}
    for curve in curves:
        positions = members.setdefault(curve.term, [])
        positions += [i for i in (*curve.numeric, *curve.categorical) if i not in positions]
    if sorted(members) != list(range(len(members))):
        raise ValueError(f"terms of curves must be numbered from 0 without gaps; got {sorted(members)}")
    return tuple(Term(space.pair_name(*members[term]), tuple(members[term])) for term in sorted(members))


def _feature_space(
    features: FeatureSpace | Sequence[str | Feature],
    center: ArrayLike,
    scale: ArrayLike,
    rows: ArrayLike | None,
    curves: Sequence[Curve],
) -> FeatureSpace:
    if isinstance(features, FeatureSpace):
        return features
    count = len(features)
    centers, scales = (np.broadcast_to(np.asarray(a, np.float64), count) for a in (center, scale))
    table = None if rows is None else np.asarray(rows, np.float64)
    if table is not None and (table.ndim != 2 or table.shape[1] != count or len(table) == 0):
        raise ValueError(f"rows must be (N, {count}) with N at least 1; got {table.shape}")
    made = []
    for i, feature in enumerate(features):
        if isinstance(feature, Feature):
            made.append(feature)
            continue
        middle, spread = float(centers[i]), float(scales[i])
        low, typical, high = middle - DEFAULT_REACH * spread, middle, middle + DEFAULT_REACH * spread
        if table is not None:
            low, typical, high = (float(number) for number in np.nanquantile(table[:, i], [0.0, 0.5, 1.0]))
        gaps = [curve.missing for curve in curves if i in curve.numeric]
        made.append(
            Feature(
                feature,
                "numeric",
                typical,
                center=middle,
                scale=spread,
                low=low,
                high=high,
                missing=bool(gaps) and all(gaps),
            )
        )
    return FeatureSpace(tuple(made))


def _check_missing(curves: Sequence[Curve], space: FeatureSpace) -> None:
    """Check that a model does not put the training median where the module takes a matrix for missing values."""
    for i, curve in enumerate(curves):
        members = [space.features[f] for f in (*curve.numeric, *curve.categorical)]
        if curve.missing and not any(feature.missing for feature in members):
            names = " or ".join(repr(feature.name) for feature in members)
            raise ValueError(f"curve {i} has a matrix for missing values: make the feature {names} with missing=True")
