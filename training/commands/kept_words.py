"""Read what a fit is to keep with its model for reasons, and check it before anything is trained."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigenserve.errors import UserError

if TYPE_CHECKING:
    from eigenserve.training.settings import FitSettings
    from eigenserve.training.training_table import TrainingTable


def read_groups_option(given: list[str]) -> dict[str, list[str]]:
    """Read --group NAME=A,B.

    Raises:
        UserError: a text of another form.
    """
    groups = {}
    for text in given:
        name, equals, names = text.partition("=")
        if not equals or not name:
            raise UserError(f"--group must be NAME=A,B; got {text!r}")
        groups[name] = [part for each in names.split(",") if (part := each.strip())]
    return groups


def read_reasons_file(path: Path | None) -> dict[str, Any]:
    """Read a reasons.toml into what JSON can hold: dates and times become texts; empty without a path.

    Raises:
        UserError: it is not TOML.
    """
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    found: dict[str, Any] = json.loads(json.dumps(document, default=lambda moment: moment.isoformat()))
    return found


def check_kept(
    table: TrainingTable,
    settings: FitSettings,
    groups: Mapping[str, list[str]],
    words: Mapping[str, Any],
    path: Path | None,
) -> None:
    """Check groups of features, and a parsed reasons.toml, against the features that a fit of a table has.

    Raises:
        UserError: a group or a rule that the model could not keep.
    """
    from eigenserve.model.counterfactuals.rules import parse_rules
    from eigenserve.model.explanations.groups import read_groups
    from eigenserve.model.reasons import read_wording
    from eigenserve.training.data.schema import infer_features

    if not groups and not words:
        return
    features = infer_features(table.features, settings.bent, settings.shaped, table.readings)
    try:
        known = read_groups(features, groups)
    except ValueError as error:
        raise UserError(f"--group: {error}") from error
    try:
        read_wording(words, features, known)
        parse_rules(features, words.get("changes", {}))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
