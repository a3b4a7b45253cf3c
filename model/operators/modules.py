"""ModuleLoss: the mean loss of any torch module on a loader's rows, as a function of some of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from eigenserve.model.operators.class_losses import ClassLoss, is_of_torch, reduction_of

#: Losses that torch names by a class and by a function: what a row has as many terms of as its outputs have entries.
ELEMENTWISE = (nn.MSELoss, nn.BCEWithLogitsLoss, nn.functional.mse_loss, nn.functional.binary_cross_entropy_with_logits)

#: Parts of a batch whose losses must make up the batch's.
_PARTS = 16
#: In eps of the largest output: what two evaluations may differ by.
_ROUNDING = 1000


class ModuleLoss:
    """Compute the loss of ``module`` on the rows of ``loader``, with the parameters whose names match as one vector.

    It is the mean over all rows, however long the last batch is: each batch's mean counts by its rows, and that of
    torch's losses of classes by the weights of the targets that are not ignored, as one batch of all rows would have
    it. A loss whose ``reduction`` is "sum" gives the sum.

    Args:
        module: evaluated as it is; put it into eval mode if it has dropout.
        loss: (outputs, targets) -> the mean over a batch's rows, or their sum if its attribute ``reduction`` is "sum".
            Where all rows are one batch, any number.
        loader: pairs (inputs, targets), gone through once per product: a DataLoader, a list, or an iterator, which is
            kept. Inputs are a tensor, a tuple for several arguments, or a mapping for named ones.
        parameters: a pattern of names (``"layer*"``), several, or None for all that require a gradient.
        by_row: whether losses of single rows are used, which those of batches must be made up of even if there is one.

    Raises:
        ValueError: no parameter that matches, parameters of several dtypes or devices, no rows, only rows that do not
            count, a loss that depends on how rows are batched, or a module with random outputs, such as by dropout in
            training mode, which would make every product one of another matrix.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        loader: Iterable[Any],
        parameters: str | Sequence[str] | None = None,
        *,
        by_row: bool = False,
    ) -> None:
        _check_repeatable(module)
        self.module, self.loss = module, loss
        self.loader = list(loader) if isinstance(loader, Iterator) else loader
        patterns = [parameters] if isinstance(parameters, str) else parameters
        self.chosen = {
            name: parameter
            for name, parameter in module.named_parameters()
            if (parameter.requires_grad if patterns is None else any(fnmatchcase(name, p) for p in patterns))
        }
        if not self.chosen:
            names = ", ".join(name for name, _ in module.named_parameters())
            raise ValueError(f"no parameter matches {parameters!r}; the module has {names or 'none'}")
        kinds = {(parameter.dtype, parameter.device) for parameter in self.chosen.values()}
        if len(kinds) > 1:
            raise ValueError(f"parameters must share one dtype and one device; got {sorted(map(str, kinds))}")
        ((_, self.device),) = kinds
        if (reduction := reduction_of(loss)) == "none":
            raise ValueError("the loss must be a number, a mean or a sum; its reduction is none")
        self.is_sum, self.class_loss = reduction == "sum", ClassLoss.of(loss)
        # What is not differentiated, and buffers as copies: batch norm in training mode writes to them.
        self._rest = {
            name: tensor.detach()
            for name, tensor in module.named_parameters(remove_duplicate=False)
            if name not in self.chosen
        }
        self.num_rows, self.total_weight, batches = self._counted()
        # All rows as one batch may have any loss.
        if (batches > 1 or by_row) and not is_of_torch(loss):
            for inputs, targets in map(self.on_device, self.batches()):
                self._check_parts(self.outputs(self.vector, inputs), targets)

    @property
    def names(self) -> list[str]:
        """Return the names of the parameters, in the order of the vector."""
        return list(self.chosen)

    @property
    def vector(self) -> Tensor:
        """Return the parameters as they are, (n,)."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.chosen.values()])

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a vector (n,) as tensors of the parameters' shapes, by name: an eigenvector, for example."""
        sizes = [parameter.numel() for parameter in self.chosen.values()]
        parts = vector.split(sizes)
        return {name: part.view(p.shape) for (name, p), part in zip(self.chosen.items(), parts, strict=True)}

    def outputs(self, vector: Tensor, inputs: Any) -> Any:
        """Return the module's outputs with these parameters."""
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        # Tied parameters have one name here and follow it everywhere.
        values = (self.split(vector), {**self._untied(), **buffers})
        arguments = () if isinstance(inputs, Mapping) else tuple(inputs) if _is_many(inputs) else (inputs,)
        named = dict(inputs) if isinstance(inputs, Mapping) else {}
        # torch's fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            return functional_call(self.module, values, arguments, named)

    def batch_loss(self, vector: Tensor, batch: Any) -> Tensor:
        """Return a batch's share of the loss."""
        inputs, targets = self.on_device(batch)
        return self.output_loss(self.outputs(vector, inputs), targets)

    def output_loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the share of the loss of outputs that are there already."""
        if self.is_sum:
            return self.loss(outputs, targets)
        weight = self.weight_of(targets)
        if weight == 0:  # torch's mean over nothing is NaN
            return outputs.sum() * 0.0
        return self.loss(outputs, targets) * (weight / self.total_weight)

    def weight_of(self, targets: Any) -> float:
        """Return what the mean of a batch counts by: its rows, or the weights of its classes."""
        rows = _rows_of(targets)
        weights = None if self.class_loss is None else self.class_loss.target_weights(targets)
        return rows if weights is None else float(weights.sum())

    def row_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row alone, (B,)."""
        return torch.func.vmap(lambda o, t: self.loss(o[None], t[None]))(outputs, targets)

    def on_device(self, batch: Any) -> tuple[Any, Any]:
        """Return a batch's inputs and targets where the parameters are."""
        inputs, targets = batch
        return _moved(inputs, self.device), _moved(targets, self.device)

    def batches(self) -> Iterable[Any]:
        """Return the batches, to be gone through any number of times."""
        return self.loader

    def _check_parts(self, outputs: Any, targets: Tensor) -> None:
        """Raise ValueError where a batch's loss is not the mean (or sum) of its parts', as it is for its rows'."""
        if not (isinstance(outputs, Tensor) and outputs.ndim and len(outputs) == len(targets)):
            return
        parts = list(zip(outputs.chunk(_PARTS), targets.chunk(_PARTS), strict=True))
        losses = torch.stack([self.loss(*part).detach() for part in parts])
        shares = losses if self.is_sum else losses * losses.new_tensor([len(part) / len(targets) for _, part in parts])
        whole, due = float(self.loss(outputs, targets)), float(shares.sum())
        # NaN, of parts without a target that counts, is no agreement.
        if not abs(whole - due) <= torch.finfo(losses.dtype).eps ** 0.5 * float(shares.abs().sum()):
            kind = "sum" if self.is_sum else "mean"
            raise ValueError(
                f"the loss must be the {kind} over a batch's rows, or the matrix would depend on the batches; got "
                f"{whole:.6g} for a batch, and {due:.6g} from its parts. For class weights or ignored targets give "
                "torch's own loss; for a sum set loss.reduction = 'sum'; the Hessian of another loss needs all rows as "
                "one batch"
            )

    def _untied(self) -> dict[str, Tensor]:
        tied = {id(parameter) for parameter in self.chosen.values()}
        named = dict(self.module.named_parameters(remove_duplicate=False))
        return {name: value for name, value in self._rest.items() if id(named[name]) not in tied}

    def _counted(self) -> tuple[int, float, int]:
        """Return the number of rows, what their means count by, and the number of batches."""
        rows, weight, batches = 0, 0.0, 0
        for inputs, targets in self._pairs():
            if batches == 0:
                _check_same(*(self.outputs(self.vector, _moved(inputs, self.device)) for _ in range(2)))
            rows, batches = rows + _rows_of(targets), batches + 1
            weight += self.weight_of(_moved(targets, self.device))
        if rows == 0:
            raise ValueError("the loader must hold rows; got none")
        if weight == 0:
            raise ValueError("the loader must hold targets that count; all are ignored or of classes of weight 0")
        return rows, weight, batches

    def _pairs(self) -> Iterator[Any]:
        for batch in self.loader:
            if not isinstance(batch, list | tuple) or len(batch) != 2:
                raise ValueError(f"a batch must be a pair (inputs, targets); got {type(batch).__name__}")
            yield batch


def _rows_of(targets: Any) -> int:
    if not isinstance(targets, Tensor) or targets.ndim == 0:
        raise ValueError(f"targets must be a tensor with the rows first; got {type(targets).__name__}")
    return len(targets)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _moved(part, device) for key, part in value.items()}
    return [_moved(part, device) for part in value] if _is_many(value) else value


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _check_same(first: Any, second: Any) -> None:
    """Raise ValueError where two evaluations differ by more than rounding."""
    if isinstance(first, Mapping) or _is_many(first):
        pairs = zip(*(v.values() if isinstance(v, Mapping) else v for v in (first, second)), strict=True)
        for pair in pairs:
            _check_same(*pair)
    elif isinstance(first, Tensor) and first.is_floating_point() and first.numel():
        # Sums on a GPU are added up in an order of their own each time.
        slack = _ROUNDING * torch.finfo(first.dtype).eps
        if not torch.allclose(first, second, slack, slack * float(first.abs().max()), equal_nan=True):
            raise ValueError(
                "two evaluations of the module on the same inputs differ, as with dropout in training mode, so that "
                "every product would be one of another matrix; call module.eval() first, or take out what is random"
            )


def _check_repeatable(module: nn.Module) -> None:
    for name, part in module.named_modules():
        share = getattr(part, "p", getattr(part, "dropout", 0.0))
        is_random = isinstance(part, nn.modules.dropout._DropoutNd | nn.MultiheadAttention | nn.RNNBase)
        if is_random and part.training and isinstance(share, float) and share > 0:
            raise ValueError(
                f"{name or type(part).__name__} drops entries at random in training mode, so that every product would "
                "be one of another matrix; call module.eval() first"
            )
