from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.sentences import _SENTENCES, LEVELS, escape, level, sentence

NONE: dict[str, Any] = {}
OPERATOR = {"kind": "operator", "who": "uid 0 pid 5", "request": "r"}


@pytest.mark.parametrize(
    ("type_", "data", "said"),
    [
        ("started", {"pid": 5}, "web:0 started with pid 5"),
        ("running", {"pid": 5}, "web:0 is running with pid 5"),
        ("exited", {"code": 0, "expected": True}, "web:0 ended with code 0"),
        ("exited", {"code": 1, "expected": False}, "web:0 ended unexpectedly with code 1"),
        ("exited", {"code": 0, "early": True, "expected": False}, "web:0 ended too early with code 0"),
        ("exited", {"signal": "SIGSEGV", "core": True, "expected": False},
         "web:0 ended unexpectedly by SIGSEGV (core dumped)"),
        ("exited", {"expected": False}, "web:0 ended unexpectedly in an unknown way"),
        ("exited", {"code": 0, "lingering": 2}, "web:0 ended with code 0; 2 of its descendants live on"),
        ("failed", {"stage": "exec", "errno": "ENOENT", "message": "No such file: '/x'"},
         "web:0 could not start: failed at exec: No such file: '/x'"),
        ("failed", {"stage": "fork", "errno": "EAGAIN"}, "web:0 could not start: failed at fork: EAGAIN"),
        ("backoff", {"delay": 0.2, "tries": 1, "of": 4}, "web:0 waits 0.2 s until the next try (run 1 of 4 failed)"),
        ("backoff", {"delay": 0.2, "tries": 9, "of": None}, "web:0 waits 0.2 s until the next try (run 9 failed)"),
        ("fatal", {"reason": "gave up after 3"}, "web:0 is given up: gave up after 3"),
        ("stopping", {"goal": "down"}, "web:0 is being stopped"),
        ("stopping", {"goal": "up"}, "web:0 is being stopped, to be started again"),
        ("stopping", {"goal": "gone"}, "web:0 is being stopped, to be removed"),
        ("stopping", {"lingering": 1}, "web:0 is being stopped: what its last run left behind is ended first"),
        ("stopped", {"signal": "SIGTERM", "swept": [], "forced": False}, "web:0 stopped, it ended by SIGTERM"),
        ("stopped", {"code": 0, "swept": [f"n ({n})" for n in range(12)], "forced": False},
         "web:0 stopped, it ended with code 0; " + ", ".join(f"n ({n})" for n in range(10))
         + " and 2 more had left its group and was killed"),
        ("stopped", {"code": 0, "outlived": ["sh (7)"], "unnamed": 3},
         "web:0 stopped, it ended with code 0; sh (7) did not end with it and was killed; so were 3 more"),
        ("stopped", {"code": 0, "lingering": 12, "left": ["7 sh", "8 nap"]},
         "web:0 stopped, it ended with code 0; 12 of its descendants live on: 7 sh, 8 nap and 10 more"),
        ("stopped", {"signal": "SIGKILL", "swept": [[7, "sh"], [8, "x y"]], "forced": True},
         "web:0 stopped after it had to be killed, it ended by SIGKILL; sh 7, x y 8 had left its group and was killed"),
        ("stopped", {}, "web:0 stopped"),
        ("cleared", {}, "web:0 has nothing left of its last run"),
        ("killed", {"pid": 5, "forced": True}, "web:0 is killed (pid 5): it did not stop in time"),
        ("killed", {"pid": 5}, "web:0 is killed (pid 5)"),
        ("unkillable", {"pids": [5, 6]}, "web:0 does not die, not even of SIGKILL (pids 5, 6)"),
        ("unkillable", {"pid": 5}, "web:0 does not die, not even of SIGKILL (pid 5)"),
        ("removed", {}, "web:0 was removed"),
        ("added", {}, "web:0 was added"),
        ("scaled", {"n": 3, "jobs": ["web"]}, "web:0 was scaled to 3"),
        ("scaled", {"n": 3, "jobs": ["web", "db"]}, "web:0 was scaled to 3, with db"),
        ("reset", {}, "web:0 was reset: its count of failures begins anew"),
        ("signalled", {"signum": 1, "pid": 5}, "web:0 got signal 1 (pid 5)"),
        ("adopted", {"pid": 5}, "web:0 was taken over with pid 5"),
        ("odd_thing", {"a": 1, "b": None, "c": ""}, "web:0 odd thing: a 1"),
        ("odd_thing", {}, "web:0 odd thing"),
    ],
)  # fmt: skip
def test_what_happens_to_a_process_is_said(type_: str, data: dict[str, Any], said: str) -> None:
    assert sentence(type_, "web:0", NONE, data) == said


@pytest.mark.parametrize(
    ("type_", "data", "said"),
    [
        ("reloaded", {"generation": 4, "added": 1, "changed": 0, "removed": 2, "same": 9},
         "generation 4 of the config is in force: 1 added, 0 changed, 2 removed, 9 the same"),
        ("reload_refused", {"reason": "it is empty"}, "the config was not taken: it is empty"),
        ("config_error", {"problems": 2, "first": "a.toml:1:2: bad"},
         "the config has 2 problem(s), nothing was changed; first a.toml:1:2: bad"),
        ("core_started", {"pid": 5, "shim_pid": 4, "version": "0.1", "generation": 3},
         "core 0.1 (pid 5) started below shim 4, generation 3 of the config"),
        ("core_replaced", {"pid": 5}, "core (pid 5) took over from another one"),
        ("core_ready", {}, "core is ready"),
        ("core_stopping", {"code": 0}, "core is done, exit status 0"),
        ("shutdown", {"reason": "SIGTERM"}, "everything is being stopped: SIGTERM"),
        ("log_trouble", {"path": "/x", "errno": "ENOSPC", "bytes": 5}, "output to /x is being lost: ENOSPC"),
        ("log_trouble", {"path": "/x", "bytes": 5, "over": True}, "output to /x is written again, 5 bytes were lost"),
        ("log_trouble", {"text": "not compressed"}, "not compressed"),
        ("journal_trouble", {"text": "off"}, "journal: off"),
        ("watch_trouble", {"text": "slow"}, "config watching: slow"),
        ("other_trouble", {"text": "bad"}, "other: bad"),
        ("notice", {"message": "hear"}, "hear"),
        ("adopted", {"message": "web:0 was ended"}, "web:0 was ended"),
    ],
)  # fmt: skip
def test_what_happens_to_the_whole_is_said(type_: str, data: dict[str, Any], said: str) -> None:
    assert sentence(type_, "", NONE, data) == said


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (OPERATOR, " (asked by uid 0 pid 5)"),
        ({"kind": "operator"}, " (asked by an operator)"),
        ({"kind": "operator", "who": "uid 0", "text": "from the shell"}, " (asked by uid 0, from the shell)"),
        ({"kind": "reload", "generation": 3}, " (by generation 3)"),
        ({"kind": "reload", "text": "the config was saved"}, " (by a reload, the config was saved)"),
        ({"kind": "signal", "text": "SIGTERM from pid 7"}, " (by a signal, SIGTERM from pid 7)"),
        ({"kind": "exit", "run": 3}, ""),
        ({"kind": "exit", "text": "db ended"}, " (db ended)"),
        ({"kind": "boot"}, ""),
        ({}, ""),
    ],
)
def test_the_cause_is_said_where_it_tells_something(cause: dict[str, Any], why: str) -> None:
    assert sentence("added", "web:0", cause, {}) == f"web:0 was added{why}"


@pytest.mark.parametrize(
    ("type_", "data", "expected"),
    [
        ("fatal", {}, "error"),
        ("failed", {}, "warning"),
        ("exited", {"expected": False}, "warning"),
        ("exited", {"expected": True}, "info"),
        ("killed", {"forced": True}, "warning"),
        ("killed", {}, "info"),
        ("journal_trouble", {"over": False}, "warning"),
        ("journal_trouble", {"over": True}, "info"),
        ("cleared", {}, "debug"),
        ("never_heard_of", {}, "info"),
    ],
)
def test_levels_tell_how_much_it_matters(type_: str, data: dict[str, Any], expected: str) -> None:
    assert level(type_, data) == expected


def test_S13_nothing_breaks_the_line() -> None:
    text = sentence(
        "notice", "we\nb", {"kind": "operator", "who": "\x1b]0;x\x07"}, {"message": "\u202e\u2028\x9b\udc80"}
    )
    assert text.isprintable()
    assert escape("a\nb\t\x1b") == "a\\nb\\t\\x1b"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from([
    "pid", "code", "signal", "core", "stage", "errno", "message", "expected", "early", "lingering", "swept", "delay",
    "tries", "of", "reason", "goal", "forced", "pids", "n", "jobs", "signum", "generation", "first", "text", "over",
])  # fmt: skip


@given(
    st.sampled_from(sorted(_SENTENCES)) | st.text(),
    st.text(),
    st.dictionaries(st.sampled_from(["kind", "who", "text", "generation"]), ANYTHING),
    st.dictionaries(FIELDS, ANYTHING),
)
def test_any_event_becomes_one_printable_line(
    type_: str, key: str, cause: dict[str, Any], data: dict[str, Any]
) -> None:
    assert sentence(type_, key, cause, data).isprintable()
    assert level(type_, data) in LEVELS
