"""A digest of kernel sources, so that compiled code on disk never outlives the files it was made from.

Numba keys its cache by the time stamp of the file that holds the cached function, not of the files that
function calls into. It also keys it by the values a closure captures: a cached kernel that captures this
digest is compiled again when any kernel file changes, and found again wherever and whenever the same files
were unpacked.
"""

from hashlib import blake2b
from pathlib import Path


def source_digest(folder: Path) -> int:
    """63 bits that change with the content of the Python files of `folder` (not of folders inside it)."""
    digest = blake2b(digest_size=8)
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return int.from_bytes(digest.digest(), "big") >> 1
