"""Workers answer with the same versions at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from eigenserve.app.agreement.agreement import Agreement, Arbiter, agree
from eigenserve.app.agreement.board import KEPT_AGREEMENTS, UNOFFERED_S, Board


@pytest.fixture
def arbiter() -> Arbiter:
    return Arbiter(10, lambda agreement: None)


def test_a_version_answers_when_all_workers_have_it(arbiter: Arbiter):
    arbiter.offer(1, 1, {"price": {1: ["a"]}})
    arbiter.offer(2, 1, {"price": {1: ["a"]}})
    arbiter.offer(1, 2, {"price": {1: ["a"], 2: ["b"]}})
    assert arbiter.agreement.table == {"price": {1: "a"}}
    arbiter.offer(2, 2, {"price": {1: ["a"], 2: ["b"]}})
    assert arbiter.agreement.table == {"price": {1: "a", 2: "b"}}


def test_a_worker_that_starts_is_a_member_once_it_has_what_the_others_answer_with(arbiter: Arbiter):
    arbiter.offer(1, 1, {"price": {1: ["a"], 2: ["b"]}})
    arbiter.offer(2, 1, {"price": {1: ["a"]}})
    assert set(arbiter.agreement.members) == {1}
    assert arbiter.agreement.table == {"price": {1: "a", 2: "b"}}
    # It read another version 2, but has a copy of the one that is served.
    arbiter.offer(2, 2, {"price": {1: ["a"], 2: ["c", "b"]}})
    assert arbiter.agreement.members == {1: 1, 2: 2}
    assert arbiter.agreement.table == {"price": {1: "a", 2: "b"}}


def test_what_one_worker_no_longer_finds_does_not_come_back_with_its_death(arbiter: Arbiter):
    both = {"price": {1: ["a"], 2: ["b"]}}
    arbiter.offer(1, 1, both)
    arbiter.offer(2, 1, both)
    arbiter.offer(1, 2, {"price": {1: ["a"]}})
    assert arbiter.agreement.table == {"price": {1: "a"}}
    arbiter.leave(1)
    assert arbiter.agreement.table == {"price": {1: "a"}}
    arbiter.offer(3, 1, both)  # it is in the store again
    assert arbiter.agreement.table == {"price": {1: "a", 2: "b"}}


def test_a_version_whose_content_changes_stays_until_all_have_the_other_one(arbiter: Arbiter):
    arbiter.offer(1, 1, {"price": {1: ["a"]}})
    arbiter.offer(2, 1, {"price": {1: ["a"]}})
    arbiter.offer(1, 2, {"price": {1: ["b"]}})
    assert arbiter.agreement.table == {"price": {1: "a"}}
    arbiter.offer(2, 2, {"price": {1: ["b"]}})
    assert arbiter.agreement.table == {"price": {1: "b"}}


def test_a_model_without_a_common_version_keeps_those_it_has():
    offers = [{"price": {2: ["b"]}}, {"price": {1: ["a"]}}]
    assert agree(offers, {"price": {1: "a"}}, keep_versions=1) == {"price": {1: "a"}}
    assert agree(offers, {}, keep_versions=1) == {}


def test_a_model_of_which_one_version_is_kept_is_never_without(arbiter: Arbiter):
    arbiter.offer(1, 1, {"price": {1: ["a"]}})
    arbiter.offer(2, 1, {"price": {1: ["a"]}})
    arbiter.offer(1, 2, {"price": {2: ["b"]}})
    assert arbiter.agreement.table == {"price": {1: "a"}}
    arbiter.offer(2, 2, {"price": {2: ["b"]}})
    assert arbiter.agreement.table == {"price": {2: "b"}}


def test_only_the_newest_common_versions_are_agreed_on():
    offer = {"price": {version: [str(version)] for version in range(1, 6)}}
    assert agree([offer, offer], {}, keep_versions=2) == {"price": {4: "4", 5: "5"}}


def test_what_is_served_outlives_the_death_of_all_workers(arbiter: Arbiter):
    arbiter.offer(1, 1, {"price": {1: ["a"], 2: ["b"]}})
    arbiter.leave(1)
    assert arbiter.agreement.table == {"price": {1: "a", 2: "b"}}
    # One that cannot have all of it is better than none.
    arbiter.offer(2, 1, {"price": {1: ["a"]}})
    assert (set(arbiter.agreement.members), arbiter.agreement.table) == ({2}, {"price": {1: "a"}})


def test_a_model_is_unloaded_at_once_and_loaded_again(arbiter: Arbiter):
    offer = {"price": {1: ["a"]}, "rent": {1: ["b"]}}
    arbiter.offer(1, 1, offer)
    arbiter.unload("rent")
    assert (arbiter.agreement.table, arbiter.agreement.unloaded) == ({"price": {1: "a"}}, {"rent"})
    arbiter.offer(1, 2, {"price": {1: ["a"]}})
    arbiter.load("rent")
    assert (arbiter.agreement.unloaded, arbiter.agreement.looks) == (frozenset(), 1)
    arbiter.offer(1, 3, offer)
    assert arbiter.agreement.table == {"price": {1: "a"}, "rent": {1: "b"}}


def test_an_agreement_is_read_from_the_board_as_it_was_written(tmp_path: Path):
    writer, reader = Board(tmp_path), Board(tmp_path)
    assert reader.agreement == Agreement()
    written = Agreement(1, {"price": {3: "a"}}, frozenset({"rent"}), {1: 4}, 2)
    writer.publish(written)
    assert reader.agreement == written
    assert reader.agreement is reader.agreement
    for number in range(2, 30):
        writer.publish(Agreement(number))
    assert reader.agreement == Agreement(29)
    assert len(list(tmp_path.glob("*.json"))) == KEPT_AGREEMENTS


def test_copies_that_nobody_can_need_are_removed(tmp_path: Path, monkeypatch):
    board = Board(tmp_path)
    for digest in ("a", "b"):
        (tmp_path / "copies" / digest).mkdir()
    board.prune_copies({"a"})
    assert len(list((tmp_path / "copies").iterdir())) == 2
    now = (tmp_path / "copies" / "b").stat().st_mtime
    monkeypatch.setattr("eigenserve.app.agreement.board.time.time", lambda: now + UNOFFERED_S + 1)
    board.prune_copies({"a"})
    assert [place.name for place in (tmp_path / "copies").iterdir()] == ["a"]
