"""Chain: the parts that one process wrote, each with the hash of the one before it.

    CHAIN/00000000.json             the first link: who writes, and which chains there were already
    CHAIN/00000001.decisions.parquet, 00000001.details.parquet, 00000001.json[.sig]
    ...
    CHAIN/open.json                 which part is being gathered, and how many rows it has; gone once all is written
    erasures/00000001.json[.sig]    which rows were erased from which details, likewise chained

A link, NNNNNNNN.json, names the sha256 of its files and of the link before it; the last one of a process that ended in
order says so. So a byte that is changed, and a part that is removed, replaced or moved, show; but for the last link,
which no other one names, and which its signature or a copy of its hash elsewhere proves. Details are what may be
erased: an erasure names the hashes of a file of details before and after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigenserve.app.observability.records.folder import Folder
from eigenserve.errors import UserError

OPEN = "open.json"
ERASURES = "erasures"
LINK = re.compile(r"([0-9]{8})\.json")
#: What ``chain_name`` makes.
CHAIN = re.compile(r"[0-9]{8}T[0-9]{6}-.+-[0-9]+-[0-9]{9}")


@dataclass
class Chain:
    """Append links to a chain in a folder.

    Attributes:
        folder: where chains are.
        name: of this one.
        key: signs every link; None for none.
        number, head: of the last link: its number, and its sha256.
        holder: who writes it, as its folder's ``is_held`` knows it; "" where that cannot be known.
    """

    folder: Folder
    name: str
    key: Any = None
    number: int = -1
    head: str | None = None
    holder: str = ""

    def append(self, document: dict[str, Any], files: Mapping[str, bytes | memoryview]) -> None:
        """Write files and then the link that names them; if that fails, the same call may be made again.

        Args:
            document: what else the link says.
            files: kind of file, such as "decisions" -> its content.
        """
        number, entries = self.number + 1, {}
        for kind, content in files.items():
            name = part_name(number, kind)
            self.folder.write(f"{self.name}/{name}", content)
            entries[kind] = {"name": name, "sha256": sha256(content), "bytes": len(content)}
        link = {"chain": self.name, "number": number, "previous": self.head, "files": entries, **document}
        content = json.dumps(link, indent=1).encode()
        if self.key is not None:
            self.folder.write(f"{self.name}/{link_name(number)}.sig", self.key.sign(content))
        self.folder.write(f"{self.name}/{link_name(number)}", content)
        self.number, self.head = number, sha256(content)

    def mark(self, rows: int) -> None:
        """Say that the next part is being gathered, and how many rows it has by now."""
        if not self.holder:
            self.holder = self.folder.hold(self.name)
        marker = {"part": self.number + 1, "previous": self.head, "rows": rows, "at": time.time()}
        self.folder.write(f"{self.name}/{OPEN}", json.dumps({**marker, "holder": self.holder}).encode())

    def close(self, document: dict[str, Any]) -> None:
        """Write the last link."""
        self.append({**document, "closed": True}, {})
        self.folder.remove(f"{self.name}/{OPEN}")


def chain_name() -> str:
    """Return a name that no other process has: of the host, the boot, the process and the moment."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        boot = "noboot"
    host = re.sub(r"[^A-Za-z0-9.]+", "-", socket.gethostname()) or "host"
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return f"{moment}-{host}-{boot}-{os.getpid()}-{time.time_ns() % 10**9:09d}"


def chain_names(folder: Folder) -> list[str]:
    """List the chains of a folder; what is not named like one is none."""
    return [name for name in folder.names() if CHAIN.fullmatch(name)]


def name_prefix(number: int) -> str:
    """Return what the names of all files of a link begin with."""
    return f"{number:08d}."


def link_name(number: int) -> str:
    """Name the file of a link, or of the note of an erasure."""
    return f"{name_prefix(number)}json"


def part_name(number: int, kind: str) -> str:
    """Name a file of a part: of "decisions" or "details"."""
    return f"{name_prefix(number)}{kind}.parquet"


def link_names(folder: Folder, path: str) -> list[str]:
    """List the links in a folder, or the notes of erasures, in order."""
    return [name for name in folder.names(path) if LINK.fullmatch(name)]


def sha256(content: bytes | memoryview) -> str:
    """Return the hash of a file's content."""
    return hashlib.sha256(content).hexdigest()


def private_key(path: Path) -> Any:
    """Read an Ed25519 private key (PEM), as ``openssl genpkey -algorithm ed25519`` makes it.

    Raises:
        UserError: it is something else, or the package cryptography is not installed.
    """
    return _key(path, "load_pem_private_key", "Ed25519PrivateKey", password=None)


def public_key(path: Path) -> Any:
    """Read an Ed25519 public key (PEM), as ``openssl pkey -pubout`` makes it; raises as ``private_key``."""
    return _key(path, "load_pem_public_key", "Ed25519PublicKey")


def _key(path: Path, loader: str, kind: str, **options: Any) -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UserError("signatures need the package cryptography: pip install 'eigenserve[records]'") from error
    try:
        key = getattr(serialization, loader)(path.read_bytes(), **options)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} must hold an Ed25519 key (PEM); {error}") from error
    if not isinstance(key, getattr(ed25519, kind)):
        raise UserError(f"{path} must hold an Ed25519 key (PEM); got {type(key).__name__}")
    return key


def is_signed(key: Any, content: bytes, signature: bytes) -> bool:
    """Return whether a signature is that of a content."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True
