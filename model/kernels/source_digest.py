"""Digest kernel sources, so that compiled code on disk never outlives the files it was made from.

The cache is keyed by the content of the file that holds the cached function, not of the files that function
calls into. It is also keyed by the values a closure captures: a cached kernel that captures this digest is
compiled again when any kernel file changes, and found again wherever and whenever the same files were unpacked.
"""

from hashlib import blake2b
from pathlib import Path

_MODEL = Path(__file__).parents[1]
#: Every file whose code the eigensolver's kernels are compiled from.
SOLVER_SOURCES = (_MODEL / "kernels", _MODEL / "eigensolvers")


def source_digest(*paths: Path) -> int:
    """Return 63 bits that change with the content of files, and of the Python files anywhere inside folders."""
    digest = blake2b(digest_size=8)
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return int.from_bytes(digest.digest(), "big") >> 1
