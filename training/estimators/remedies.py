"""Say the remedies of notes and errors, which name options of the command line, by parameters of the estimators."""

from __future__ import annotations

import re

_TYPES = re.compile(r"--types '?([^'\n]+?)=(number|date|time|boolean|category)\b'?")
#: What stands in a note -> what a user of Python does.
_OTHERS = (
    (re.compile(r"give --missing (?:'[^'\n]*'|\S+)"), "replace it by NaN"),
    (re.compile(r"--missing '?[^'\n]*?=' makes it a class"), "another word makes it a class"),
    (re.compile(r"give --date-format [^;)\n]+"), "convert it by pandas.to_datetime"),
    (re.compile(r"--date-format \S+ gives"), "pandas.to_datetime takes"),
    (re.compile(r"\(--decimal '[.,]' reads otherwise\)"), "(convert it to numbers if it is not)"),
    (re.compile(r"""--exclude ("[^"\n]*"|'[^'\n]*'|\S+)"""), r"leave \1 out of X"),
    (re.compile(r" \(--(?:exclude|max-rows)\)"), ""),
    (re.compile(r"more memory \(--max-memory\)"), "free more memory"),
    (re.compile(r"--class-weight balanced"), 'class_weight="balanced"'),
    (re.compile(r"--(budget|reproducible|pairs|members|dim|monotone|device)\b"), r"\1"),
)


def in_python(text: str) -> str:
    """Return a note or a message with parameters in place of options."""
    text = _TYPES.sub(lambda option: f"types={{{option[1]!r}: {option[2]!r}}}", text)
    for option, remedy in _OTHERS:
        text = option.sub(remedy, text)
    return text
