"""Write what pydantic finds wrong in the words of the other errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: pydantic's type of a fault -> what the value must be.
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}


def fault_words(fault: Mapping[str, Any]) -> str:
    """Say what a value must be, beginning with "must", from one of ``ValidationError.errors()``."""
    if fault["type"] in _KINDS:
        return f"must be {_KINDS[fault['type']]}"
    if fault["type"] == "missing":
        return "must be given"
    return re.sub(r"^\w+ should ", "must ", str(fault["msg"])).removeprefix("Value error, ")


def alternatives(words: list[str]) -> str:
    """Join what a value may be: "must be a text" and "must be a number" to "must be a text or a number"."""
    first, *others = dict.fromkeys(words)
    return " or ".join([first, *(each.removeprefix("must be ") for each in others)])
