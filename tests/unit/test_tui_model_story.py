"""What happened and why, as sentences, marks and cards; and what is asked before an action."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from taskmaster_core import sentences as core
from taskmaster_core import wire
from taskmaster_tui.actions import BY_ID
from taskmaster_tui.model import story
from taskmaster_tui.model.blast import VERBS, Question, needs_confirmation
from taskmaster_tui.model.fmt import clock, plain
from taskmaster_tui.model.world import World
from tests.fakecore import job, process, status

NOW = 1_764_000_000.0
QUIET = wire.Cause("exit")


def event(
    type_: str, key: str = "web:0", cause: wire.Cause = QUIET, at: float = NOW, seq: int = 1, **data: Any
) -> wire.Event:
    return wire.Event(seq, "b1", at, type_, key, cause, data)


def world_of(*jobs: dict[str, Any], **more: Any) -> World:
    world = World()
    world.load(msgspec.convert(status(*jobs, **more), wire.Status), NOW)
    return world


# Sentences

VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=3)
FIELDS = st.dictionaries(
    st.sampled_from([
        "pid", "code", "signal", "core", "stage", "errno", "message", "expected", "early", "swept", "lingering",
        "forced", "delay", "tries", "of", "reason", "goal", "pids", "n", "jobs", "signum", "generation", "added",
        "problems", "first", "version", "shim_pid", "text", "path", "bytes", "over", "held", "odd",
    ]), VALUES, max_size=6,
)  # fmt: skip
CAUSES = st.builds(
    wire.Cause,
    kind=st.sampled_from(["operator", "reload", "exit", "deadline", "boot", "signal", "shim", "core"]),
    who=st.sampled_from(["", "uid 0 pid 5"]),
    generation=st.integers(0, 3),
    text=st.sampled_from(["", "by hand"]),
)
TYPES = st.sampled_from([*core._SENTENCES, "intent", "other_trouble", "odd_thing"])


@given(TYPES, FIELDS, CAUSES)
def test_the_words_are_the_cores(type_: str, data: dict[str, Any], cause: wire.Cause) -> None:
    here = event(type_, cause=cause, **data)
    said = core.told(type_, "web:0", msgspec.to_builtins(cause), data)
    assume(said == plain(said) == core.escape(said))  # what is foreign in it, each of the two makes harmless in its way
    assert story.event_sentence(here) == core.sentence(type_, "web:0", msgspec.to_builtins(cause), data)
    assert f"web:0 {story.event_what(here)}" in said


@pytest.mark.parametrize(
    ("given_event", "line"),
    [
        (event("fatal", reason="gave up after 5 tries", tries=5),
         ("web:0 is given up: gave up after 5 tries", "error")),
        (event("exited", code=1, expected=False), ("web:0 ended unexpectedly with code 1", "warn")),
        (event("running", pid=7), ("web:0 is running with pid 7", "good")),
        (event("core_ready", ""), ("core is ready", "dim")),
        (event("stopping", cause=wire.Cause("operator", who="uid 0 pid 5")),
         ("web:0 is being stopped (asked by uid 0 pid 5)", "")),
        (event("reload_refused", "", reason="it is empty"), ("the config was not taken: it is empty", "warn")),
    ],
)  # fmt: skip
def test_an_event_is_a_sentence_with_a_role(given_event: wire.Event, line: tuple[str, str]) -> None:
    assert story.event_line(given_event) == line


def test_what_happened_can_stand_without_whom() -> None:
    assert story.event_what(event("stopping", cause=wire.Cause("operator", who="x"))) == "is being stopped"


@given(TYPES, FIELDS)
def test_S13_no_event_reaches_the_terminal_but_as_text(type_: str, data: dict[str, Any]) -> None:
    text = story.event_sentence(event(type_, "\x1b[2Jweb:0\n", **data))
    assert not set(text) & {chr(code) for code in (*range(32), *range(0x7F, 0xA0))}


def test_S13_markup_in_a_reason_stays_what_it_is() -> None:
    assert story.event_sentence(event("fatal", reason="[red]x[/] \x1b[31my")) == "web:0 is given up: [red]x[/] y"


# Marks in the output


@pytest.mark.parametrize(
    ("given_event", "text"),
    [
        (event("started", run=4, pid=7), "run 4 started · pid 7"),
        (event("exited", code=78), "exited 78"),
        (event("exited", signal="SIGSEGV", core=True), "ended by SIGSEGV (core dumped)"),
        (event("exited"), "ended"),
        (event("failed", stage="exec", errno="ENOENT", message="no such file"), "could not start: no such file"),
        (event("backoff", tries=4, of=5, delay=8.0), "attempt 4/5 · retry in 8 s"),
        (event("backoff", tries=4, of=None, delay=0.2), "attempt 4 · retry in 0.2 s"),
        (event("fatal", tries=5), "attempt 5/5 · FATAL: gave up"),
        (event("fatal"), "FATAL: gave up"),
        (event("stopped", signal="SIGTERM"), "stopped, ended by SIGTERM"),
        (event("stopped", signal="SIGKILL", forced=True), "killed: it did not stop in time, ended by SIGKILL"),
        (event("signalled", signum=1), "signal 1"),
        (event("running"), None),
        (event("intent"), None),
    ],
)
def test_marks(given_event: wire.Event, text: str | None) -> None:
    assert story.run_mark(given_event) == text


def test_a_mark_says_how_long_the_run_lived() -> None:
    assert story.run_mark(event("exited", code=78), NOW - 0.9) == "exited 78 after 0.9 s"


def test_what_follows_from_an_end_stands_in_its_line() -> None:
    marks = story.run_marks([
        event("started", run=4, pid=7, at=NOW, seq=1), event("started", "db:0", run=1, at=NOW, seq=2),
        event("exited", run=4, code=78, expected=False, at=NOW + 0.9, seq=3),
        event("stopped", "db:0", run=1, at=NOW + 0.9, seq=4),
        event("backoff", run=4, tries=4, of=5, delay=8.0, at=NOW + 0.9, seq=5),
        event("started", run=5, pid=8, at=NOW + 9, seq=6),
        event("failed", run=5, stage="exec", errno="EACCES", at=NOW + 9, seq=7),
        event("fatal", run=5, tries=5, at=NOW + 9, seq=8),
    ])  # fmt: skip
    assert [(mark.key, mark.text, mark.role) for mark in marks] == [
        ("web:0", "run 4 started · pid 7", "mark"),
        ("db:0", "run 1 started", "mark"),
        ("web:0", "exited 78 after 0.9 s · attempt 4/5 · retry in 8 s", "warn"),
        ("db:0", "stopped after 0.9 s", "mark"),
        ("web:0", "run 5 started · pid 8", "mark"),
        ("web:0", "could not start: EACCES after 0 s · attempt 5/5 · FATAL: gave up", "failed"),
    ]


# Cards


def card(
    state: str, reply: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **more: Any
) -> story.Card:
    world = world_of(job("mailer", process("mailer:0", state, since=NOW - 41, **more), spec=spec or {}))
    proc = world.proc("mailer:0")
    assert proc is not None
    return story.why_card(proc, proc.job, NOW, reply)


def test_the_card_of_what_gave_up() -> None:
    seen = card(
        "fatal", exit={"code": 78}, tries=5, restarts=5, reason="gave up after 5 tries",
        spec={"exitcodes": [0], "successdelay": 5.0, "retry": 4},
    )  # fmt: skip
    assert seen.title == f"mailer:0 is FATAL since {clock(NOW - 41)} (41 s ago)"
    assert seen.lines == [
        "Exit code 78 (expected 0).",
        "The last 5 runs were unsuccessful; successdelay is 5 s, retry is 4.",
        "Gave up after 5 tries.",
        "Nothing happens by itself.",
    ]
    assert [hint.action for hint in seen.hints] == ["job.restart", "job.edit", "jobs.runs"]
    assert seen.role == "failed"


def test_the_cores_own_reasons_are_used_when_it_told_them() -> None:
    chain = ["mailer:0 is fatal for 41s: gave up", "its run 5 ended: exit code 78", "restart = always: x"]
    reply = {"processes": [{"key": "web:0"}, {"key": "mailer:0", "state": "fatal", "chain": chain, "next": "nothing"}]}
    assert card("fatal", reply).lines == [
        "Gave up.",
        "Its run 5 ended: exit code 78.",
        "restart = always: x.",
        "Nothing.",
    ]


def test_reasons_of_another_state_are_not_used() -> None:
    reply = {"key": "mailer:0", "state": "running", "chain": ["it runs"], "next": "it runs"}
    assert card("fatal", reply).lines == ["Nothing happens by itself."]


@pytest.mark.parametrize(
    ("state", "more", "title", "lines", "hints"),
    [
        ("backoff", {"next_start_at": NOW + 3, "tries": 1, "exit": {"signal": "SIGSEGV", "core": True}},
         "waiting for its next try since",
         ["Ended by SIGSEGV, core dumped (expected 0).", "The last run was unsuccessful.", "The next try is in 3 s."],
         ["job.restart", "job.stop", "job.edit", "jobs.runs"]),
        ("running", {"lingering": 2}, "running since", ["2 of its descendants live on."], ["jobs.runs"]),
        ("stopped", {"run": 0}, "off", ["Nothing happens by itself."], ["job.start"]),
        ("exited", {"exit": {"code": 0}}, "finished since", ["Exit code 0.", "Nothing happens by itself."],
         ["job.start", "jobs.runs"]),
        ("exited", {"exit": {"code": 0}, "held": True}, "finished since",
         ["Exit code 0.", "It is held: it is not started again by itself until it is released.",
          "Nothing happens by itself."], ["job.release", "job.start", "jobs.runs"]),
        ("fatal", {"exit": {"error": {"stage": "exec", "errno": "ENOENT", "message": "no such file: '/x'"}}},
         "FATAL since",
         ["It could not start: no such file: '/x'.", "Nothing happens by itself."],
         ["job.restart", "job.edit", "jobs.runs"]),
        ("stopping", {}, "stopping since", [], ["job.kill", "jobs.runs"]),
    ],
)  # fmt: skip
def test_cards(state: str, more: dict[str, Any], title: str, lines: list[str], hints: list[str]) -> None:
    seen = card(state, **more)
    assert seen.title.startswith(f"mailer:0 is {title}")
    assert seen.lines == lines
    assert [hint.action for hint in seen.hints] == hints


def test_every_hint_is_an_action_there_is() -> None:
    offered = {action for hints in story._HINTS.values() for action, _ in hints}
    assert offered | {"job.release", "job.edit", "jobs.runs"} <= BY_ID.keys()


def test_S13_a_reason_with_escapes_and_markup_is_plain_on_the_card() -> None:
    assert "[b]Bad[/b] thing." in card("fatal", reason="[b]Bad[/b]\x1b[2J thing").lines


# What is asked first


@pytest.fixture
def world() -> World:
    return world_of(
        job("web", *[process(f"web:{i}") for i in range(4)]),
        job("db", process("db:0"), spec={"protected": True}),
        job("old", process("old:0", "stopped"), process("old:1", "fatal")),
        instance="prod",
    )


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("shutdown", "rollback", "scale")])
def test_one_process_is_no_question(world: World, verb: str) -> None:
    assert needs_confirmation(verb, ["web:0"], world, {"signal": "SIGHUP"}) is None


def test_several_processes_are_one_with_their_effects(world: World) -> None:
    assert needs_confirmation("restart", ["web"], world) == Question("Restart 4 processes of web?", ["web: restarts 4"])
    assert needs_confirmation("stop", ["web:1", "web:2"], world) == Question(
        "Stop 2 processes of web?", ["web: stops 2 (:1 :2)"]
    )
    assert needs_confirmation("signal", ["web"], world, {"signal": "SIGHUP"}) == Question(
        "Send SIGHUP to 4 processes of web?", ["web: sends SIGHUP to 4"]
    )


def test_each_job_has_its_line(world: World) -> None:
    question = needs_confirmation("restart", ["web", "old", "web:1"], world)
    assert question == Question("Restart 6 processes of 2 jobs?", ["web: restarts 4", "old: starts 2"])


def test_what_nothing_happens_to_does_not_count(world: World) -> None:
    assert needs_confirmation("stop", ["old"], world) is None
    assert needs_confirmation("start", ["web"], world) is None
    question = needs_confirmation("start", ["web", "old"], world)
    assert question == Question("Start 2 processes of 2 jobs?", ["web: runs already", "old: starts 2"])


def test_a_protected_job_always_asks(world: World) -> None:
    assert needs_confirmation("restart", ["db:0"], world) == Question(
        "Restart 1 process of db?", ["db: restarts 1  (protected)"]
    )
    assert needs_confirmation("start", ["db"], world) == Question("Start db?", ["db: runs already  (protected)"])


def test_another_machine_always_asks(world: World) -> None:
    question = needs_confirmation("kill", ["web:0"], world, remote=True)
    assert question is not None
    assert question.effects == ["web: kills 1 (:0), the whole tree, at once", "", "This core runs on another machine."]


def test_harmless_verbs_ask_only_for_the_protected_and_far_away(world: World) -> None:
    for verb in ("hold", "release", "reset"):
        assert needs_confirmation(verb, ["web", "old"], world) is None
        assert needs_confirmation(verb, ["web", "db"], world) is not None


def test_stopping_everything_wants_its_name_typed(world: World) -> None:
    for verb in ("stop", "kill"):
        question = needs_confirmation(verb, ["web", "db", "old"], world)
        assert question is not None
        assert question.typed == "prod"
    question = needs_confirmation("restart", ["web", "db", "old"], world)
    assert question is not None
    assert question.typed == ""


def test_shutting_down_wants_its_name_typed(world: World) -> None:
    question = needs_confirmation("shutdown", [], world)
    assert question == Question(
        "Stop everything of prod?",
        ["5 processes of 3 jobs stopped in order", "then the core and the shim end"], "prod",
    )  # fmt: skip
    question = needs_confirmation("shutdown", [], world, {"keep_core": True})
    assert question is not None
    assert question.effects[1] == "the core stays, with nothing running"


def test_scaling_by_one_is_no_question_by_more_is(world: World) -> None:
    assert needs_confirmation("scale", ["web"], world, {"n": 5}) is None
    assert needs_confirmation("scale", ["web"], world, {"n": 3}) is None
    assert needs_confirmation("scale", ["web:0"], world, {"n": 1}) == Question(
        "Scale web to 1?", ["web: stops 3, 4 → 1"]
    )
    assert needs_confirmation("scale", ["db"], world, {"n": 2}) == Question(
        "Scale db to 2?", ["db: starts 1, 1 → 2  (protected)"]
    )


def test_rolling_back_always_asks(world: World) -> None:
    question = needs_confirmation("rollback", [], world, {"generation": 17})
    assert question is not None
    assert question.title == "Roll back to generation 17?"


def test_a_plan_that_was_seen_is_not_asked_about_again(world: World) -> None:
    assert needs_confirmation("reload", ["web", "old"], world) is None
    assert needs_confirmation("reload", ["web", "db"], world) is not None


def test_rows_that_are_gone_ask_nothing(world: World) -> None:
    assert needs_confirmation("stop", ["gone", "gone:1"], world) is None


def test_S13_a_jobs_name_is_plain_in_the_question() -> None:
    world = world_of(job("\x1b[2J[b]", *[process(f"\x1b[2J[b]:{i}") for i in range(2)]))
    question = needs_confirmation("restart", ["\x1b[2J[b]"], world)
    assert question == Question("Restart 2 processes of [b]?", ["[b]: restarts 2"])
