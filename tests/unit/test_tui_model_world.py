"""What the TUI knows of the core: snapshots, batches, samples, marks of what was asked."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core import wire
from taskmaster_core.spec import WORST_FIRST as CORE_WORST_FIRST
from taskmaster_core.spec import State
from taskmaster_tui import model
from taskmaster_tui.model import words
from taskmaster_tui.model.history import SIZE, History
from taskmaster_tui.model.world import Counts, Proc, World
from tests.fakecore import job, process, status

NOW = 1_764_000_000.0
STATES = [state.value for state in State]


def view(key: str, state: str = "running", **more: Any) -> wire.ProcessView:
    return msgspec.convert(process(key, state, **more), wire.ProcessView)


def batch(*views: wire.ProcessView, gone: tuple[str, ...] = (), seq: int = 8, boot: str = "b1") -> wire.StateBatch:
    return wire.StateBatch(boot, seq, list(views), list(gone))


def loaded(*jobs: dict[str, Any], **core: Any) -> World:
    world = World()
    world.load(msgspec.convert(status(*jobs, **core), wire.Status), NOW)
    return world


def the(world: World, key: str) -> Proc:
    found = world.proc(key)
    assert found is not None
    return found


@pytest.fixture
def world() -> World:
    return loaded(job("web", process("web:0"), process("web:1")), job("db", process("db:0", "stopped")))


def test_jobs_keep_the_order_of_the_config(world: World) -> None:
    assert list(world.jobs) == ["web", "db"]
    assert list(world.jobs["web"].procs) == ["web:0", "web:1"]


def test_a_batch_changes_what_it_names_and_tells_which(world: World) -> None:
    assert world.apply(batch(view("web:1", "fatal")), NOW + 1) == {"web:1"}
    assert world.jobs["web"].state == "fatal"
    assert (world.seq, world.as_of, world.stale_shape) == (8, NOW + 1, False)


def test_sums_that_were_looked_at_follow_what_changes(world: World) -> None:
    assert (world.jobs["web"].look().word, world.counts().up) == ("2/2 up", 2)
    world.apply(batch(view("web:1", "fatal")), NOW + 1)
    assert (world.jobs["web"].look().word, world.counts().up) == ("1/2 FATAL", 1)
    world.apply(batch(gone=("web:1",), seq=9), NOW + 2)
    assert (world.jobs["web"].look().word, world.counts().total) == ("1/1 up", 2)
    world.sample({"web:0": [7.0, 1]}, NOW)
    assert world.jobs["web"].cpu == 7.0


def test_a_batch_the_snapshot_has_overtaken_is_dropped(world: World) -> None:
    assert world.apply(batch(view("web:1", "fatal"), seq=6), NOW + 1) == set()
    assert world.jobs["web"].up == 2


def test_a_batch_of_another_core_asks_for_a_snapshot_and_changes_nothing(world: World) -> None:
    assert world.apply(batch(view("web:1", "fatal"), boot="b2"), NOW + 1) == set()
    assert world.stale_shape
    assert world.jobs["web"].up == 2


def test_a_new_process_of_a_known_job_is_shown_in_its_place_and_a_snapshot_is_due(world: World) -> None:
    shape = world.shape
    world.apply(batch(view("web:10"), view("web:2")), NOW)
    assert list(world.jobs["web"].procs) == ["web:0", "web:1", "web:2", "web:10"]
    assert world.stale_shape
    assert world.shape > shape


def test_a_process_of_an_unknown_job_waits_for_the_snapshot(world: World) -> None:
    world.apply(batch(view("new:0")), NOW)
    assert world.stale_shape
    assert list(world.jobs) == ["web", "db"]
    assert world.proc("new:0") is None


def test_a_process_that_went_is_not_shown_any_more(world: World) -> None:
    world.apply(batch(gone=("web:1",)), NOW)
    assert world.keys_of("web") == ["web:0"]
    assert world.keys_of("web:1") == []
    assert world.stale_shape


def test_a_snapshot_of_the_same_rows_does_not_change_the_shape(world: World) -> None:
    shape = world.shape
    world.load(msgspec.convert(status(job("web", process("web:0"), process("web:1")), job("db", process("db:0"))),
                               wire.Status), NOW + 1)  # fmt: skip
    assert world.shape == shape


def test_a_snapshot_keeps_histories_and_marks(world: World) -> None:
    world.sample({"web:0": [12.5, 1000]}, NOW)
    world.sending(["web:1"], "restart", NOW)
    same = view("web:1")
    the(world, "web:1").view = same
    world.sending(["web:1"], "restart", NOW)
    document = status(job("web", process("web:0"), msgspec.to_builtins(same)))
    world.load(msgspec.convert(document, wire.Status), NOW + 1)
    assert len(the(world, "web:0").history) == 1
    assert the(world, "web:1").sent == "restart"
    assert world.proc("db:0") is None


def test_counts_add_up(world: World) -> None:
    world.apply(batch(view("web:0", "backoff"), view("web:1", "starting", held=True)), NOW)
    assert world.counts() == Counts(up=0, busy=1, failed=1, off=1, done=0, held=1, total=3)


def test_counts_of_nothing_are_naught() -> None:
    assert World().counts() == Counts()
    assert World().totals() == (None, None)


# Marks of what was asked


def test_what_is_on_its_way_shows_until_the_core_says_another_state(world: World) -> None:
    world.sending(["web"], "restart", NOW)
    assert the(world, "web:0").look().word == "restart…"
    assert world.jobs["web"].look().role == "busy"
    world.apply(batch(view("web:0", "stopping")), NOW)
    assert the(world, "web:0").look().word == "stopping"
    assert the(world, "web:1").look().word == "restart…"


def test_a_batch_that_says_the_same_leaves_the_mark(world: World) -> None:
    world.sending(["web:0"], "restart", NOW)
    world.apply(batch(the(world, "web:0").view), NOW)
    assert the(world, "web:0").sent == "restart"


def test_a_job_of_which_one_process_was_asked_is_busy_and_keeps_its_sum(world: World) -> None:
    world.sending(["web:0"], "restart", NOW)
    assert world.jobs["web"].look() == words.Look("busy", "2/2 up", "busy")


def test_an_answer_takes_the_mark_away(world: World) -> None:
    world.sending(["web"], "restart", NOW)
    world.answered(wire.Done([wire.Outcome("web:0", ok=True, state="running")]), "", ["web"])
    assert the(world, "web:0").look() == words.UP
    assert world.jobs["web"].look().word == "2/2 up"


def test_a_refusal_is_shown_until_the_next_key(world: World) -> None:
    world.sending(["db"], "signal", NOW)
    world.answered(
        wire.Done([wire.Outcome("db:0", ok=False, state="stopped", note="does not run")], ok=False), "", ["db"]
    )
    assert the(world, "db:0").look().word == "! refused"
    assert world.jobs["db"].look() == words.Look("off", "! refused", "error")
    assert the(world, "db:0").refused == "does not run"
    assert world.forget_refusals() == {"db:0"}
    assert the(world, "db:0").look() == words.OFF
    assert world.forget_refusals() == set()


def test_an_error_refuses_all_that_was_asked(world: World) -> None:
    world.sending(["web"], "stop", NOW)
    world.answered(None, "the core is gone", ["web"])
    assert {proc.refused for proc in world.jobs["web"].procs.values()} == {"the core is gone"}


# Sums of a job


@pytest.mark.parametrize(
    ("processes", "word", "glyph", "role"),
    [
        ([{}, {}], "2/2 up", "up", "up"),
        ([{}, {"state": "starting"}], "1/2 start", "busy", "busy"),
        ([{}, {"state": "stopping"}], "1/2 stop", "busy", "busy"),
        ([{"state": "fatal", "exit": {"code": 78}}], "0/1 FATAL", "failed", "failed"),
        ([{}, {"state": "backoff"}, {"state": "starting"}], "1/3 retry", "failed", "failed"),
        ([{}, {"state": "backoff"}, {"state": "fatal"}], "1/3 FATAL", "failed", "failed"),
        ([{"state": "exited", "exit": {"code": 0}}], "done 0", "done", "done"),
        ([{"state": "exited", "exit": {"code": 3}}], "0/1 failed", "failed", "failed"),
        ([{"state": "exited", "exit": {"code": 0}}, {}], "1/2 up", "up", "up"),
        ([{"state": "stopped"}, {"state": "stopped"}], "off", "off", "off"),
        ([{"state": "stopped"}, {}], "1/2 up", "up", "up"),
        ([{"ready": False}, {}], "1/2 sick", "failed", "failed"),
        ([{"state": "unknown"}], "0/1 ?", "busy", "busy"),
        ([{"state": "stopped", "held": True}], "off", "held", "held"),
        ([], "off", "off", "off"),
    ],
)  # fmt: skip
def test_a_job_sums_up_its_processes(processes: list[dict[str, Any]], word: str, glyph: str, role: str) -> None:
    made = [process(f"j:{i}", **each) for i, each in enumerate(processes)]
    assert loaded(job("j", *made)).jobs["j"].look() == words.Look(glyph, word, role)


def test_an_exit_code_the_config_expects_is_a_good_end() -> None:
    world = loaded(job("j", process("j:0", "exited", exit={"code": 3}), spec={"exitcodes": [0, 3]}))
    assert world.jobs["j"].look().word == "done 3"
    assert world.counts().done == 1


def test_the_worst_state_is_the_cores_worst() -> None:
    assert tuple(CORE_WORST_FIRST) == words.WORST_FIRST


@given(st.lists(st.sampled_from(STATES), min_size=1, max_size=8))
def test_a_jobs_state_is_what_the_core_says_of_it(states: list[str]) -> None:
    document = job("j", *[process(f"j:{i}", state) for i, state in enumerate(states)])
    world = loaded(document)
    assert world.jobs["j"].state == document["state"]
    counts = world.counts()
    assert counts.up + counts.busy + counts.failed + counts.off + counts.done == counts.total == len(states)


# Snapshot and batches agree


CHANGES = st.lists(
    st.tuples(st.sampled_from(["a:0", "a:1", "b:0"]), st.sampled_from(STATES), st.integers(0, 9)), max_size=12
)


@given(CHANGES)
def test_a_snapshot_and_a_series_of_batches_agree(changes: list[tuple[str, str, int]]) -> None:
    fixed: dict[str, Any] = {"since": NOW, "started_at": NOW}
    now = {key: process(key, **fixed) for key in ("a:0", "a:1", "b:0")}
    followed = loaded(job("a", now["a:0"], now["a:1"]), job("b", now["b:0"]))
    for seq, (key, state, restarts) in enumerate(changes, 8):
        now[key] = process(key, state, restarts=restarts, **fixed)
        followed.apply(batch(msgspec.convert(now[key], wire.ProcessView), seq=seq), NOW)
    fresh = loaded(job("a", now["a:0"], now["a:1"]), job("b", now["b:0"]))
    assert [proc.view for proc in followed.procs()] == [proc.view for proc in fresh.procs()]
    assert followed.counts() == fresh.counts()
    assert [each.look(NOW) for each in followed.jobs.values()] == [each.look(NOW) for each in fresh.jobs.values()]


# Samples


def test_a_job_uses_what_its_processes_use(world: World) -> None:
    world.sample({"web:0": [10.0, 1000], "web:1": [2.5, 500]}, NOW)
    assert (world.jobs["web"].cpu, world.jobs["web"].rss) == (12.5, 1500)
    assert world.totals() == (12.5, 1500)
    assert world.jobs["web"].history.cpu(1, NOW) == [12.5]


def test_what_is_sampled_no_more_has_no_use_any_more(world: World) -> None:
    world.sample({"web:0": [10.0, 1000]}, NOW)
    world.sample({"web:1": [1.0, 10]}, NOW + 1)
    assert the(world, "web:0").cpu is None
    assert world.jobs["web"].cpu == 1.0


def test_a_sample_of_a_process_that_has_gone_is_ignored(world: World) -> None:
    world.sample({"old:0": [10.0, 1000]}, NOW)
    assert world.totals() == (None, None)


def test_the_views_own_figures_stand_until_a_sample_comes() -> None:
    world = loaded(job("web", process("web:0", cpu=3.0, rss=7)))
    assert (the(world, "web:0").cpu, the(world, "web:0").rss) == (3.0, 7)


def test_history_keeps_ten_minutes() -> None:
    history = History()
    for i in range(SIZE + 50):
        history.add(NOW + i, float(i), i)
    assert len(history) == SIZE
    assert history.cpu(2, NOW + SIZE + 49) == [SIZE + 48.0, SIZE + 49.0]


def test_seconds_nobody_looked_are_gaps() -> None:
    history = History()
    history.add(NOW, 1.0, 1)
    history.add(NOW + 4, 2.0, 2)
    assert [str(each) for each in history.cpu(5, NOW + 4)] == ["1.0", "nan", "nan", "nan", "2.0"]
    assert [str(each) for each in history.rss(2, NOW + 5)] == ["2.0", "nan"]
    assert [str(each) for each in history.cpu(2, NOW + 900)] == ["nan", "nan"]


def test_one_missed_second_is_jitter_and_a_doubled_one_counts_once() -> None:
    history = History()
    for at in (0.9, 2.1, 2.9):
        history.add(NOW + at, at, 1)
    assert [round(each, 1) for each in history.cpu(3, NOW + 2)] == [0.9, 0.9, 2.9]


def test_a_clock_set_back_begins_a_new_history() -> None:
    history = History()
    history.add(NOW, 1.0, 1)
    history.add(NOW - 3600, 2.0, 1)
    assert len(history) == 1


def test_bars_keep_their_height_while_they_move() -> None:
    history = History()
    start = NOW // 12 * 12
    for i in range(60):
        history.add(start + i, float(i // 12), 1)
    before = history.cells(5, start + 59)
    history.add(start + 60, 9.0, 1)
    after = history.cells(5, start + 60)
    assert before == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert after == [1.0, 2.0, 3.0, 4.0, 9.0]


# Speed: targets 5 ms, 10 ms; the bounds are for a machine that does something else too


def test_a_thousand_changes_are_taken_in_no_time() -> None:
    world = loaded(*[job(f"j{i}", *[process(f"j{i}:{k}") for k in range(10)]) for i in range(100)])
    views = [view(f"j{i}:{k}", "backoff") for i in range(100) for k in range(10)]
    spent = []
    for seq in range(8, 13):
        begin = time.thread_time()
        world.apply(batch(*views, seq=seq), NOW)
        spent.append(time.thread_time() - begin)
    assert min(spent) < 0.015


# What the model may know


def test_the_model_imports_no_screen_no_socket_and_no_clock() -> None:
    forbidden = {"textual", "rich", "zmq", "asyncio", "os", "time", "socket", "threading", "subprocess"}
    allowed_of_core = {
        "taskmaster_core", "taskmaster_core.wire", "taskmaster_core.sentences", "taskmaster_core.logs.sanitize",
    }  # fmt: skip
    for path in Path(model.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & forbidden, path
            assert {name for name in names if name.startswith("taskmaster_core")} <= allowed_of_core, path
            assert not [name for name in names if name.startswith("taskmaster_tui") and ".model" not in name], path


def test_a_young_history_is_shown_over_a_minute_and_an_old_one_over_ten() -> None:
    history = History()
    assert history.window(600) == 60
    for second in range(700):
        history.add(1_000.0 + second, 1.0, 1.0)
        assert len(history) <= history.window(600) or history.window(600) == 600
    assert (history.window(600), history.window(300)) == (600, 300)
