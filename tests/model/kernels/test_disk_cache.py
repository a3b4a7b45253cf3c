"""The cache of compiled kernels: never other code than was asked for, and never the end of a command."""

import importlib.util
import logging
import os
import resource
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

from eigenserve.model.kernels import disk_cache
from eigenserve.model.kernels.compiled import can_be_kept, is_on_disk

SOURCE = """
from eigenserve.model.kernels.compiled import kernel

@kernel
def total(values):
    result = 0.0
    for value in values:
        result += value
    return result
"""
VALUES = np.arange(1.0, 5.0)
#: More than an index of files takes, and less than a kernel.
FULL_BYTES = 4096


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The file of a kernel whose cache is the folder `kept` next to it."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(disk_cache, "_warned", False)
    path = tmp_path / "some_kernel.py"
    path.write_text(SOURCE)
    return path


def new_process(source):
    """The kernel as a process that starts now has it."""
    spec = importlib.util.spec_from_file_location("some_kernel", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.total


def found(total, values=VALUES):
    """Whether the kernel was on disk; its answer is right either way."""
    assert total(values) == 10.0
    return bool(total.stats.cache_hits)


def kept(source):
    return sorted(path for path in Path(config.CACHE_DIR).rglob("*") if path.is_file())


@contextmanager
def full_disk():
    """No file grows beyond a few kilobytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder):
    """Nothing in the folder can be written: root, who always can, is somebody else meanwhile."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in paths:
            path.chmod(0o755)


@pytest.fixture
def open_source(source):
    """The same in a folder that everybody may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        config.CACHE_DIR = str(Path(folder, "kept"))
        yield Path(shutil.copy(source, folder))


def test_code_of_old_sources_is_not_run_after_a_full_disk(source):
    assert not found(new_process(source))
    source.write_text(SOURCE.replace("result = 0.0", "result = 9999.0"))
    with full_disk():
        assert new_process(source)(VALUES) == 10009.0
    again = new_process(source)
    assert again(VALUES) == 10009.0
    assert not again.stats.cache_hits
    assert new_process(source)(VALUES) == 10009.0


def test_a_full_disk_leaves_the_answer_and_one_line(source, caplog):
    with full_disk():
        assert not found(new_process(source))
        assert not found(new_process(source), VALUES.astype(np.float32))
    (line,) = caplog.messages
    assert "File too large" in line
    assert "NUMBA_CACHE_DIR" in line
    assert not kept(source)


DAMAGE = {
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "other bytes": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"\0" * 9),
    "not a pickle": lambda path: path.write_bytes(b"kernel" * 1000),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_compiled_again_and_overwritten(source, damage, caplog):
    assert not found(new_process(source))
    for path in kept(source):
        damage(path)
    assert not found(new_process(source))
    assert found(new_process(source))
    assert not caplog.messages


def test_a_file_under_the_name_of_another_is_a_miss(source):
    assert not found(new_process(source))
    (doubles,) = kept(source)
    assert not found(new_process(source), VALUES.astype(np.float32))
    (singles,) = set(kept(source)) - {doubles}
    shutil.copy(doubles, singles)
    assert not found(new_process(source), VALUES.astype(np.float32))
    assert found(new_process(source), VALUES.astype(np.float32))


def test_what_refers_to_a_class_that_is_gone_is_compiled_again(source, monkeypatch):
    with monkeypatch.context() as writing:
        writing.setattr(disk_cache, "dumps", lambda _: b"cno_such_module\nno_such_class\n.")
        assert not found(new_process(source))
    assert not found(new_process(source))
    assert found(new_process(source))


def test_processes_that_fill_an_empty_cache_at_once_do_not_meet(source, monkeypatch):
    """Each saw an empty folder and wrote its types there; whichever file was the last, both are found."""
    folders = [source.parent / name for name in ("kept", "one", "other")]
    for folder, values in zip(folders[1:], (VALUES, VALUES.astype(np.float32)), strict=True):
        monkeypatch.setattr(config, "CACHE_DIR", str(folder))
        assert not found(new_process(source), values)
    monkeypatch.setattr(config, "CACHE_DIR", str(folders[0]))
    for last in ("*.nbi", "*.nbc"):
        shutil.copytree(folders[1], folders[0], dirs_exist_ok=True)
        for path in folders[2].rglob(last):
            shutil.copy(path, folders[0] / path.relative_to(folders[2]))
    for values in (VALUES, VALUES.astype(np.float32)):
        assert found(new_process(source), values)


def test_a_cache_that_can_only_be_read_is_used_in_silence(open_source, caplog):
    assert not found(new_process(open_source))
    with read_only(open_source.parent):
        total = new_process(open_source)
        assert is_on_disk(total)
        assert not can_be_kept(total)
        assert found(total)
        assert not caplog.messages
        assert not found(new_process(open_source), VALUES.astype(np.float32))
        assert len(caplog.messages) == 1
    assert can_be_kept(new_process(open_source))


def test_without_any_folder_to_write_to_a_process_compiles_for_itself_and_says_so_once(
    open_source, monkeypatch, caplog
):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(open_source.parent / "cache"))
    with read_only(open_source.parent):
        total = new_process(open_source)
        assert not is_on_disk(total)
        assert not found(total)
        assert not found(new_process(open_source))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().count("Permission denied") == 2
    assert "NUMBA_CACHE_DIR" in record.getMessage()


def test_the_users_folder_is_used_where_the_installation_cannot_be_written(open_source, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o777)
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        with read_only(open_source.parent):
            assert not found(new_process(open_source))
            assert found(new_process(open_source))
        # What is there already is found by everybody, whoever may write next to the sources.
        assert found(new_process(open_source))


def test_files_of_old_sources_and_of_killed_processes_go(source):
    assert not found(new_process(source))
    (old,) = kept(source)
    source.write_text(SOURCE + "# changed\n")
    assert not found(new_process(source))
    (new,) = kept(source)
    assert new != old
    hour_ago = time.time() - 2 * disk_cache._ABANDONED_S
    for name, at in (("killed", hour_ago), ("writes", time.time())):
        draft = new.with_name(f"{new.name}.{name}.tmp")
        draft.touch()
        os.utime(draft, (at, at))
    assert not found(new_process(source), VALUES.astype(np.float32))
    assert {path.suffixes[-2] for path in kept(source) if path.suffix == ".tmp"} == {".writes"}
    assert found(new_process(source))
