"""Keep what a long benchmark has finished in a JSON file that is whole at any time."""

import json
import os
from pathlib import Path
from typing import Any

from eigenserve.errors import UserError


def read_results(path: Path) -> dict[str, Any]:
    """Read what is finished; nothing where there is no file.

    Raises:
        UserError: a file of something else.
    """
    if not path.exists():
        return {}
    try:
        results = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): mend or remove it, or give another file") from error
    if not isinstance(results, dict):
        raise UserError(f"{path} must hold one JSON object of results; it holds something else: give another file")
    return results


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write what is finished; who stops this leaves the file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(draft, path)
