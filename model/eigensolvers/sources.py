"""A digest of kernel sources, so that compiled code on disk never outlives the files it was made from.

Numba keys its cache by the time stamp of the file that holds the cached function, not of the files that
function calls into. It also keys it by the values a closure captures: a cached kernel that captures this
digest is compiled again when any kernel file changes, and found again wherever and whenever the same files
were unpacked.
"""

from hashlib import blake2b
from pathlib import Path


def source_digest(*paths: Path) -> int:
    """63 bits that change with the content of files, and of the Python files of folders (not of folders inside)."""
    digest = blake2b(digest_size=8)
    files = [file for path in paths for file in (sorted(path.glob("*.py")) if path.is_dir() else [path])]
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return int.from_bytes(digest.digest(), "big") >> 1
