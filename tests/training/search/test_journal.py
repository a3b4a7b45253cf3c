"""A journal hands back what it kept, and forgets what nobody has gone on with."""

import os
import time

import numpy as np
import pytest

from eigenserve.training.search import journal as module
from eigenserve.training.search.journal import ABANDONED_S, journal_of
from eigenserve.training.settings import FitSettings


def test_only_what_was_abandoned_is_forgotten(tmp_path):
    own, other, old = (journal_of(tmp_path, "a1", "y", FitSettings(seed=seed)) for seed in range(3))
    for journal in (own, other, old):
        journal.keep((0, 1), np.arange(3.0))
    long_ago = time.time() - ABANDONED_S - 60.0
    (folder,) = {f for f in tmp_path.iterdir() if f not in (own._folder, other._folder)}
    for journal in (own, old):
        for path in (journal._folder / "0-1.npy", journal._folder):
            os.utime(path, (long_ago, long_ago))
    (tmp_path / "1").mkdir()
    own.clear_abandoned()
    assert not folder.exists()
    assert (tmp_path / "1").exists()
    # Its own is what a fit is about to go on with, however old.
    assert own.scores((0, 1)).tolist() == other.scores((0, 1)).tolist() == [0.0, 1.0, 2.0]
    assert old.scores((0, 1)) is None


@pytest.mark.parametrize(("name", "other"), [("releases", dict), ("source_digest", lambda *paths: 0)])
def test_another_release_or_source_starts_over(tmp_path, monkeypatch, name, other):
    """Its scores need not be the same, and a blend of both would be judged wrongly."""
    journal_of(tmp_path, "a1", "y", FitSettings()).keep((0, 1), np.arange(3.0))
    assert journal_of(tmp_path, "a1", "y", FitSettings()).scores((0, 1)) is not None
    monkeypatch.setattr(module, name, other)
    assert journal_of(tmp_path, "a1", "y", FitSettings()).scores((0, 1)) is None
