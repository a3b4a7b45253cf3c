"""`eigenserve kernels` ends well only where the kernels are kept."""

from __future__ import annotations

import base64
import pickle

import pytest

from eigenserve.app.server import compile_kernels
from eigenserve.errors import UserError

SEEN = [("some.module", name, ()) for name in ("walk", "solve")]


@pytest.mark.parametrize("count", ["0", "1"])
def test_a_folder_that_takes_no_kernels_is_an_error(count, monkeypatch):
    answers = {"seen": base64.b64encode(pickle.dumps(SEEN)).decode(), "compile": count}
    monkeypatch.setattr(compile_kernels, "_python", lambda command, *_, **__: answers[command])
    with pytest.raises(UserError, match=f"^{2 - int(count)} of 2 compiled kernels .* written to .*x86-64-v3$"):
        compile_kernels.main("folder", "x86-64-v3")


def test_kernels_that_this_machine_cannot_keep_are_an_error(monkeypatch):
    monkeypatch.setattr(compile_kernels, "seen_signatures", lambda: SEEN)
    monkeypatch.setattr(compile_kernels, "_kept", lambda _: 0)
    with pytest.raises(UserError, match="could not be written to the cache"):
        compile_kernels.main()
