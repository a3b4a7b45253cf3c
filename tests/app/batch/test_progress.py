"""What scoring shows: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from eigenserve import progress
from eigenserve.app.batch.progress import ScoreProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_it_is_plain_lines(monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.0)
    stream = io.StringIO()
    with ScoreProgress(stream) as shown:
        shown.say("going on after 1,000 rows")
        shown.advance(0.25, 2_000)
        shown.advance(0.5, 4_000)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["going on after 1,000 rows", " 25%  2,000 rows"]
    assert lines[2].startswith(" 50%  4,000 rows  ")
    assert lines[2].endswith(" rows/s")
    assert "\x1b" not in stream.getvalue()


def test_the_last_line_says_that_all_is_scored(monkeypatch):
    stream = io.StringIO()
    with ScoreProgress(stream) as shown:
        shown.finish(10)
        assert stream.getvalue() == ""  # A run too short for lines needs no last one.
        monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.0)
        shown.advance(0.97, 7_000)
        monkeypatch.setattr(progress, "LINE_INTERVAL_S", 60.0)
        shown.finish(8_000)
    assert stream.getvalue().splitlines()[-1].startswith("100%  8,000 rows")


def test_a_share_that_is_not_known_is_not_shown(monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.0)
    stream = io.StringIO()
    with ScoreProgress(stream) as shown:
        shown.advance(0.0, 2_000)
    assert stream.getvalue() == "2,000 rows\n"


def test_on_a_terminal_it_is_a_bar(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with ScoreProgress(stream) as shown:
        shown.advance(0.5, 4_000)
        shown.say("a line of its own")
    assert "4,000 rows" in stream.getvalue()
    assert "50%" in stream.getvalue()
    assert "a line of its own" in stream.getvalue()
    assert "\x1b" in stream.getvalue()
