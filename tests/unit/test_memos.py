"""What the core says to its successor comes back as it was, or is left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from taskmaster_core import memos
from taskmaster_core.machine import Proc
from taskmaster_core.spec import Backoff, Config, Exit, Goal, JobSpec, Key, LogSpec, Restart, Rlimit, State, StopStep
from tests.samples import KEY, SPEC, proc

WORDS = st.text(max_size=8)
TIMES = st.floats(0, 1e9)
COUNTS = st.integers(0, 2**40)
ENDS = st.builds(
    Exit, code=st.none() | st.integers(0, 255), signal=st.none() | st.just("SIGKILL"), signum=st.integers(0, 64),
    core=st.booleans(), stage=st.none() | st.just("exec"), errno=st.none() | st.just("ENOENT"), message=WORDS,
)  # fmt: skip
SPECS = st.builds(
    JobSpec, st.just("web"), st.lists(WORDS, min_size=1).map(tuple), cmd=WORDS | st.lists(WORDS).map(tuple),
    shell=st.none() | st.just("/bin/sh"), restart=st.sampled_from(Restart), retry=st.none() | COUNTS,
    exitcodes=st.lists(st.integers(0, 255) | st.just("SIGTERM")).map(tuple), backoff=st.builds(Backoff, first=TIMES),
    stop=st.lists(st.builds(StopStep, st.integers(1, 64), TIMES), min_size=1).map(tuple),
    env=st.dictionaries(WORDS, WORDS), cleanenv=st.booleans() | st.just(("PATH",)), umask=st.none() | COUNTS,
    uid=st.none() | COUNTS | st.just("nobody"), log=st.builds(LogSpec, maxsize=st.none() | COUNTS),
    limits=st.lists(st.builds(Rlimit, st.just("core"), st.none() | COUNTS, st.none())).map(tuple),
)  # fmt: skip
PROCS = st.builds(
    Proc, st.just(KEY), SPECS, generation=COUNTS, goal=st.sampled_from(Goal), state=st.sampled_from(State), since=TIMES,
    deadline=st.none() | TIMES, run=COUNTS, run_generation=COUNTS, pid=st.none() | COUNTS, started_at=st.none() | TIMES,
    tries=COUNTS, streak=COUNTS, restarts=COUNTS, exit=st.none() | ENDS, lingering=COUNTS, step=st.integers(-1, 5),
    unkillable=st.booleans(), reason=WORDS,
)  # fmt: skip


@given(PROCS)
def test_process_comes_back_as_it_was(one: Proc) -> None:
    assert memos.read(memos.write(one), KEY, one.spec) == one


@given(PROCS)
def test_process_that_no_config_declares_any_more_brings_its_own_spec(one: Proc) -> None:
    leaving = replace(one, goal=Goal.GONE)
    assert memos.read(memos.write(leaving), KEY, None) == leaving


def test_no_field_of_a_process_is_forgotten() -> None:
    assert set(memos.Memo.__struct_fields__) | {"key"} == set(Proc.__struct_fields__)


def test_S04_memo_of_a_process_that_stays_holds_no_spec() -> None:
    secret = replace(SPEC, env={"TOKEN": "S04-hunter2"})
    assert "S04-hunter2" not in memos.write(proc(State.RUNNING, secret))


def test_bytes_that_are_no_text_in_the_words_of_an_end_do_not_break_the_memo() -> None:
    odd = Exit(stage="exec", errno="ENOENT", message="No such file: '/bin/\udcff'")
    fatal = proc(State.FATAL, exit=odd)
    assert memos.read(memos.write(fatal), KEY, SPEC) == fatal


def test_bytes_that_are_no_text_in_the_environment_come_back_for_a_job_on_its_way_out() -> None:
    leaving = proc(State.STOPPING, replace(SPEC, env={"A": "\udcff"}), goal=Goal.GONE)
    assert memos.read(memos.write(leaving), KEY, None) == leaving


@pytest.mark.parametrize(
    "text", ["", "{", '{"goal":"\\udcff"}', "[]", "7", "null", '{"goal":"sideways"}', '{"past":3}', None, 7, {}]
)
def test_memo_that_is_not_understood_is_none(text: Any) -> None:
    assert memos.read(text, KEY, SPEC) is None


def test_memo_of_what_nothing_declares_is_none() -> None:
    assert memos.read(memos.write(proc(State.RUNNING)), KEY, None) is None


def test_memo_of_a_later_version_with_more_fields_is_understood() -> None:
    text = memos.write(proc(State.RUNNING)).replace("{", '{"novelty":[1,2],', 1)
    assert memos.read(text, KEY, SPEC) == proc(State.RUNNING)


# All of them ---------------------------------------------------------------------------------------------------------


def restore(runs: dict[str, int], **texts: object) -> dict[Key, Proc]:
    return memos.restore({name.replace("_", ":"): text for name, text in texts.items()}, Config((SPEC,)), runs)


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
def test_memo_and_shim_that_agree_make_the_process_as_it_was(state: State) -> None:
    assert restore({"web:0": 3}, web_0=memos.write(proc(state))) == {KEY: proc(state)}


@pytest.mark.parametrize("state", State)
def test_memo_without_a_living_run_holds_until_the_reports_come(state: State) -> None:
    assert restore({}, web_0=memos.write(proc(state))) == {KEY: proc(state)}


@pytest.mark.parametrize(
    ("state", "run"), [(State.RUNNING, 4), (State.STOPPED, 3), (State.BACKOFF, 3), (State.FATAL, 4)]
)
def test_memo_that_does_not_speak_of_the_living_run_makes_it_unknown(state: State, run: int) -> None:
    (found,) = restore({"web:0": run}, web_0=memos.write(proc(state))).values()
    assert (found.state, found.pid, found.deadline, found.goal) == (State.UNKNOWN, None, None, proc(state).goal)


def test_broken_memos_and_the_core_s_own_are_no_processes() -> None:
    texts = {memos.CORE: memos.write_core(1, 2), "web:0": "{", "old:0": memos.write(proc(State.RUNNING))}
    assert memos.restore(texts, Config((SPEC,)), {}) == {}


def test_last_runs_of_what_is_gone_come_back() -> None:
    texts = {
        memos.CORE: memos.write_core(1, 2), "web:0": memos.write_past(7), "web:1": memos.write(proc(State.RUNNING)),
        "web:2": "{", "web:3": 7,
    }  # fmt: skip
    assert memos.past_runs(texts) == {KEY: 7}
    assert memos.write_past(0) is None


# The core's own ------------------------------------------------------------------------------------------------------


@given(COUNTS, COUNTS, st.none() | st.integers(0, 255))
def test_core_s_own_memo_comes_back_as_it_was(generation: int, acked: int, ending: int | None) -> None:
    known = memos.read_core(memos.write_core(generation, acked, ending))
    assert known == memos.CoreMemo(generation, acked, ending)


@pytest.mark.parametrize("text", [None, 7, "", "{", '{"generation":1}'])
def test_core_s_own_memo_that_is_not_understood_is_none(text: object) -> None:
    assert memos.read_core(text) is None


def test_events_that_never_reached_the_journal_come_back_in_order() -> None:
    texts = {
        memos.CORE: memos.write_core(1, 1),
        f"{memos.ROWS}7": memos.write_rows([(6, "boot", 1.5, "exited"), (7, "boot", 1.6, "started")]),
        f"{memos.ROWS}5": memos.write_rows([(4, "boot", 1.0, "stopped"), (5, "boot", 1.1, "started")]),
    }
    assert [row[0] for row in memos.read_rows(texts, 4)] == [5, 6, 7]
    assert memos.read_rows(texts, 7) == []


def test_memos_of_events_are_no_processes_and_what_is_not_understood_is_passed_over() -> None:
    texts = {f"{memos.ROWS}7": memos.write_rows([(7, "boot")]), f"{memos.ROWS}8": "{", f"{memos.ROWS}9": "[[],[null]]"}
    assert [row[0] for row in memos.read_rows(texts, 0)] == [7]
    assert memos.restore(texts, Config(), {}) == {}
    assert memos.past_runs(texts) == {}
