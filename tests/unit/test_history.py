"""What operators did last and what takes it back: one step, once more back, and no further."""

from __future__ import annotations

import pytest

from taskmaster_core import history
from taskmaster_core.history import Deed, History

MANY = "web:0, web:1, web:2, web:3 and 3 more"


def stopped(*keys: str) -> Deed:
    return history.command("stop", "uid 0", 100.0, keys)


@pytest.mark.parametrize(
    ("verb", "contrary"),
    [("stop", "start"), ("kill", "start"), ("start", "stop"), ("hold", "release"), ("release", "hold"), ("reset", "")],
)
def test_each_command_has_its_contrary_or_none(verb: str, contrary: str) -> None:
    assert history.command(verb, "", 0.0, ["web:0"]).op == contrary


def test_the_last_deed_is_the_one_to_undo() -> None:
    known = History()
    assert known.last is None
    assert known.undo("r0") is None
    known.add("r1", stopped("web:0"))
    known.add("r2", stopped("api:0"))
    assert known.undo("r3") == stopped("api:0")
    assert known.last == stopped("web:0")


def test_an_undo_can_be_undone_once() -> None:
    known = History()
    known.add("r0", stopped("old:0"))
    known.add("r1", stopped("web:0"))
    known.undo("r2")
    known.add("r2", history.command("start", "uid 0", 101.0, ["web:0"]))
    assert known.last is not None
    assert (known.last.op, known.last.again) == ("stop", True)
    known.undo("r3")
    known.add("r3", stopped("web:0"))
    assert known.last == stopped("old:0")


def test_what_did_not_come_to_be_undone_is_put_back() -> None:
    known = History([stopped("web:0")])
    known.undo("r1")
    known.give_up("r1")
    known.give_up("r1")
    assert known.last == stopped("web:0")


def test_so_many_are_remembered_and_no_more() -> None:
    known = History()
    for number in range(50):
        known.add(f"r{number}", stopped(f"web:{number}"))
    left = 0
    while known.undo(f"u{left}") is not None:
        left += 1
    assert left == history.KEPT >= 10


def test_the_next_core_knows_them_from_the_memo() -> None:
    known = History([stopped("web:0"), history.scaling("uid 0", 1.0, {"web": 2})])
    again = history.read(known.write())
    assert again.undo("a") == history.scaling("uid 0", 1.0, {"web": 2})
    assert again.undo("b") == stopped("web:0")


@pytest.mark.parametrize("text", [None, 7, "", "{}", '[{"verb":1}]'])
def test_a_memo_that_is_not_understood_is_an_empty_history(text: object) -> None:
    assert history.read(text).last is None


@pytest.mark.parametrize(
    ("deed", "sentence"),
    [
        (stopped("web:0", "web:1"), "start web:0, web:1 (takes back: stop of web:0, web:1 3s ago by uid 0)"),
        (
            stopped(*(f"web:{number}" for number in range(7))),
            f"start {MANY} (takes back: stop of {MANY} 3s ago by uid 0)",
        ),
        (history.scaling("me", 0, {"web": 2}), "scale web to 2 (takes back: scale of web 3s ago by me)"),
        (
            history.scaling("me", 0, {"web": 2, "api": 1}),
            "scale web to 2, api to 1 (takes back: scale of web, api 3s ago by me)",
        ),
        (history.reloading("me", 0, 4), "go back to generation 4 of the config (takes back: reload 3s ago by me)"),
        (
            Deed("start", "me", 0, ("web:0",), "stop", again=True),
            "stop web:0 (takes back: undo by start of web:0 3s ago by me)",
        ),
        (
            history.command("restart", "me", 0, ["web:0"]),
            "the last action cannot be undone: restart of web:0 3s ago by me: what ran before is gone",
        ),
    ],
)
def test_sentences(deed: Deed, sentence: str) -> None:
    assert history.sentence(deed, "3s") == sentence
