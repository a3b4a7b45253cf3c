"""Folders of signed records."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.app_client import app_client

from eigenserve.model import ModelStore


@pytest.fixture(scope="module")
def recorded(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder of signed records in many parts, and their rows; its keys lie next to it."""
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    from tests.support.recorded import ask_everything

    folder = tmp_path_factory.mktemp("recorded")
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    key, pem = ed25519.Ed25519PrivateKey.generate(), pytest.importorskip("cryptography.hazmat.primitives.serialization")
    (folder / "private.pem").write_bytes(
        key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    )
    (folder / "public.pem").write_bytes(
        key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    )
    with app_client(
        store, records=str(folder / "records"), records_key=folder / "private.pem", records_part_rows=1
    ) as client:
        rows = ask_everything(client)
    return folder, rows


@pytest.fixture
def copied(recorded: tuple[Path, int], tmp_path: Path) -> Path:
    """A copy of the records, to be changed."""
    for path in (recorded[0] / "records").rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(recorded[0] / "records")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path
