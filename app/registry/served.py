"""Build a served model from its files, and let it predict once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from eigenserve.model import CheckpointError, SpectralModel
from eigenserve.model.checkpoints.files import CheckpointFiles
from eigenserve.model.explanations.explain import explain
from eigenserve.model.monitoring import Counting, read_sketch
from eigenserve.model.rows.cells import category_key


@dataclass(frozen=True, eq=False)
class ServedModel:
    """Hold one loaded version of a model. A request keeps the one it began with.

    Attributes:
        name: of the model.
        version: its number.
        model: what predicts.
        digest: what distinguishes its checkpoint from any other.
        counting: counts rows as its sketch of the training rows does; None where it keeps none.
    """

    name: str
    version: int
    model: SpectralModel
    digest: str = ""
    counting: Counting | None = None

    @cached_property
    def class_keys(self) -> tuple[str, ...]:
        """Return the classes as keys of a JSON object."""
        return tuple(category_key(label) for label in self.model.classes)

    @cached_property
    def work(self) -> int:
        """What a row's score costs, in entries of the diagonals that are solved."""
        return self.model.ensemble.pencil.constant_diag.size

    @cached_property
    def explanation_bytes(self) -> int:
        """About how many bytes a row's explanation takes as JSON."""
        terms, features = self.model.ensemble.pencil.terms, self.model.features.names
        named = sum(len(name) + 26 for name in (*(term.name for term in terms), *features, *self.class_keys))
        return 160 + named


def make_served(name: str, version: int, files: CheckpointFiles) -> ServedModel:
    """Build a model from its files and let it predict once.

    Raises:
        CheckpointError: it is damaged, or cannot predict.
    """
    model = files.model()
    model = replace(model, card={**model.card, "name": name, "version": version})
    try:
        model.strict  # noqa: B018 (checks it)
    except ValueError as error:
        raise CheckpointError(f'"strict" of {name} version {version} {error}') from error
    try:
        sketch = read_sketch(model, model.card)
        served = ServedModel(name, version, model, files.digest, None if sketch is None else Counting(model, sketch))
        warm_up(served)
    except Exception as error:
        raise CheckpointError(f"{name} version {version} loads, but cannot predict: {error}") from error
    return served


def warm_up(served: ServedModel) -> None:
    """Take one row through all kernels, so that no request waits for their compilation."""
    model = served.model
    columns = model.features.encode([{}])
    scores = model.scores(columns)
    explain(model, columns)
    if served.counting is not None:
        served.counting.count(columns, scores, served.counting.zeros())
