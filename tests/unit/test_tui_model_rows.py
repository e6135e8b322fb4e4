"""Rows of the job tree: folds, order, filter, cells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core import wire
from taskmaster_tui.model import filters
from taskmaster_tui.model.columns import JOB_COLUMNS, SORTS
from taskmaster_tui.model.fmt import DASH
from taskmaster_tui.model.rows import JobRows
from taskmaster_tui.model.world import World
from taskmaster_tui.widgets.slots import lay_out
from tests.fakecore import job, process, status

NOW = 1_764_000_000.0


def proc(key: str, state: str = "running", **more: Any) -> dict[str, Any]:
    fixed = {"since": NOW - 187_200, "started_at": NOW - 187_200 if state == "running" else None}
    return process(key, state, **(fixed | more))


def world_of(*jobs: dict[str, Any]) -> World:
    world = World()
    world.load(msgspec.convert(status(*jobs), wire.Status), NOW)
    return world


def rows_of(*jobs: dict[str, Any], **switches: Any) -> JobRows:
    rows = JobRows(world_of(*jobs))
    rows.now = NOW
    for name, value in switches.items():
        setattr(rows, name, value)
    rows.rebuild()
    return rows


DEMO = (
    job("web", proc("web:0"), proc("web:1"), spec={"tags": ["front"]}),
    job("mailer", proc("mailer:0", "fatal", since=NOW - 41, exit={"code": 78}, restarts=5)),
    job("worker", *[proc(f"worker:{i}") for i in range(9)]),
    job("off", proc("off:0", "stopped", run=0)),
)


def shown(rows: JobRows, row_id: str) -> dict[str, str]:
    cells = rows.cells(row_id, JOB_COLUMNS)
    return {column.id: flat(cell) for column, cell in zip(JOB_COLUMNS, cells, strict=True)}


def flat(cell: Sequence[Any]) -> str:
    return cell[0] if isinstance(cell[0], str) else "".join(text for text, _ in cell)


def drawn(rows: JobRows, width: int = 59) -> list[str]:
    lines = []
    for row_id in rows.ids():
        line = ""
        slots = lay_out(JOB_COLUMNS, width)
        for slot, cell in zip(slots, rows.cells(row_id, [slot.column for slot in slots]), strict=True):
            text = flat(cell)
            text = text.rjust(slot.column.width) if slot.column.align == "right" else text
            line = line.ljust(slot.x) + text
        lines.append(line.rstrip())
    return [line.replace(DASH, "-") for line in lines]


def test_the_tree_reads_as_it_was_drawn() -> None:
    assert drawn(rows_of(*DEMO)) == [
        "▼ ● web              2/2 up     2d04h      -          -   0",
        "    ● :0             running    2d04h      -          -   0",
        "    ● :1             running    2d04h      -          -   0",
        "▶ ✗ mailer           0/1 FATAL  41s ago    -          -   5",
        "▶ ● worker           9/9 up     2d04h      -          -   0",
        "▶ ○ off              off        -          -          -   0",
    ]


def test_a_failed_process_says_how_it_ended() -> None:
    rows = rows_of(*DEMO)
    assert rows.fold("mailer")
    rows.rebuild()
    assert shown(rows, "mailer:0") | {"spark": ""} == {
        "name": "    ✗ :0", "state": "exit 78", "up": "41s ago", "cpu": DASH, "spark": "", "mem": DASH, "restarts": "5",
    }  # fmt: skip


# Folds


def test_one_process_starts_folded_few_open_many_folded_unless_one_failed() -> None:
    many = [proc(f"many:{i}") for i in range(9)]
    rows = rows_of(*DEMO, job("many", *many[:-1], proc("many:8", "fatal")))
    assert rows.folded == {"mailer", "worker", "off"}


def test_what_a_person_folded_stays_so_whatever_happens() -> None:
    rows = rows_of(*DEMO)
    assert rows.fold("web", folded=True)
    rows.rebuild()
    rows.world.load(msgspec.convert(status(*DEMO), wire.Status), NOW)
    rows.rebuild()
    assert "web:0" not in rows.ids()
    assert not rows.fold("web", folded=True)
    assert not rows.fold("nobody")


def test_folds_of_an_earlier_session_are_kept() -> None:
    rows = JobRows(world_of(*DEMO))
    rows.folded, rows.touched = {"web"}, {"web", "mailer"}
    rows.rebuild()
    assert rows.ids() == ["web", "mailer", "mailer:0", "worker", "off"]


def test_flat_shows_processes_by_their_whole_names() -> None:
    rows = rows_of(*DEMO[:2], flat=True)
    assert rows.ids() == ["web:0", "web:1", "mailer:0"]
    assert shown(rows, "web:1")["name"] == "● web:1"


def test_a_processs_parent_is_its_job() -> None:
    rows = rows_of(*DEMO)
    assert [rows.parent(each) for each in ("web:0", "web", "gone:1")] == ["web", None, None]


# Filter


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("web", ["web", "web:0", "web:1"]),
        ("WEB", ["web", "web:0", "web:1"]),
        ("web:1", ["web", "web:1"]),
        ("state:fatal", ["mailer"]),
        ("state:failed", ["mailer"]),
        ("@front", ["web", "web:0", "web:1"]),
        ("tag:front", ["web", "web:0", "web:1"]),
        ("restarts>3", ["mailer"]),
        ("restarts>=5 state:fatal", ["mailer"]),
        ("!web !worker", ["mailer", "off"]),
        ("!state:running", ["mailer", "off"]),
        ("web off", []),
        ("cpu>50", []),
        ("cpu>x", []),
        ("worker:8", ["worker", "worker:8"]),
        ("", ["web", "web:0", "web:1", "mailer", "worker", "off"]),
        ("!", ["web", "web:0", "web:1", "mailer", "worker", "off"]),
        ("state:", []),
    ],
)
def test_filters(text: str, ids: list[str]) -> None:
    assert rows_of(*DEMO, filter=text).ids() == ids


def test_a_name_is_found_by_the_beginnings_of_its_words_but_only_kept_away_by_its_text() -> None:
    documents = (job("debug-shell", proc("debug-shell:0")), *DEMO)
    assert rows_of(*documents, filter="dsh").ids() == ["debug-shell"]
    assert "debug-shell" in rows_of(*documents, filter="!dsh").ids()


def test_what_the_filter_hides_is_counted() -> None:
    assert rows_of(*DEMO, filter="web").hidden == 3
    assert rows_of(*DEMO, filter="nothing").hidden == 4
    assert rows_of(*DEMO, filter="mailer", flat=True).hidden == 12


def test_measures_filter() -> None:
    rows = rows_of(*DEMO)
    rows.world.sample({"web:0": [60.0, 200 << 20], "web:1": [40.0, 50 << 20]}, NOW)
    for text, ids in (("cpu>50", ["web", "web:0"]), ("mem<100M", ["web", "web:1"]), ("mem>=0.1G", ["web", "web:0"])):
        rows.filter = text
        rows.rebuild()
        assert rows.ids() == ids


def test_what_keeps_restarting_is_a_problem_though_it_runs() -> None:
    crashing = proc("db:0", restarts=3, started_at=NOW - 20)
    healed = proc("web:0", restarts=3, started_at=NOW - 4000)
    rows = rows_of(job("db", crashing), job("web", healed), problems=True)
    assert rows.ids() == ["db"]
    cells = dict(zip((column.id for column in JOB_COLUMNS), rows.cells("db:0", JOB_COLUMNS), strict=True))
    assert cells["restarts"] == ("3", "warn")


def test_problems_are_what_failed() -> None:
    rows = rows_of(*DEMO, job("db", proc("db:0"), proc("db:1", "backoff")), problems=True)
    assert rows.ids() == ["mailer", "db", "db:1"]
    assert rows.hidden == 3


@pytest.mark.parametrize(
    ("short", "name", "so"),
    [("dsh", "debug-shell", True), ("ds", "debug-shell", True), ("desh", "debug-shell", True),
     ("dbs", "debug-shell", False), ("web", "worker-beta", False), ("wb", "worker-beta", True), ("", "x", True)],
)  # fmt: skip
def test_abbreviations(short: str, name: str, so: bool) -> None:
    assert filters.abbreviates(short, name) is so


@given(st.text())
def test_every_text_is_a_filter(text: str) -> None:
    rows = rows_of(*DEMO, filter=text)
    assert set(rows.ids()) <= {"web", "mailer", "worker", "off", *(each.key for each in rows.world.procs())}


# Order


def test_sorting_by_state_shows_the_worst_first() -> None:
    assert [each for each in rows_of(*DEMO, sort="state").ids() if ":" not in each] == [
        "mailer",
        "web",
        "worker",
        "off",
    ]


def test_sorting_by_use_sorts_the_processes_too() -> None:
    rows = rows_of(*DEMO, sort="cpu")
    rows.world.sample({"web:0": [1.0, 1], "web:1": [5.0, 1], "off:0": [50.0, 1]}, NOW)
    rows.rebuild()
    assert rows.ids()[:4] == ["off", "web", "web:1", "web:0"]


def test_reversed_config_order_begins_with_the_last_job() -> None:
    assert rows_of(*DEMO, reverse=True).ids()[0] == "off"


def test_the_sort_key_goes_round_the_columns() -> None:
    rows = rows_of(*DEMO)
    assert [rows.next_sort() for _ in SORTS] == [*SORTS[1:], ""]
    assert rows.next_sort(-1) == SORTS[-1]


SHAPES = st.lists(
    st.tuples(st.integers(0, 10), st.sampled_from(["running", "fatal", "stopped", "backoff"])), max_size=8
)
SWITCHES = st.fixed_dictionaries(
    {"sort": st.sampled_from(SORTS), "reverse": st.booleans(), "flat": st.booleans(), "problems": st.booleans()}
)


def made(shape: list[tuple[int, str]]) -> tuple[dict[str, Any], ...]:
    return tuple(
        job(f"j{i}", *[proc(f"j{i}:{k}", state if k == 0 else "running", restarts=(i * 7 + k) % 3) for k in range(n)])
        for i, (n, state) in enumerate(shape)
    )


@given(SHAPES, SWITCHES)
def test_every_row_is_there_once_and_processes_follow_their_job(
    shape: list[tuple[int, str]], switches: dict[str, Any]
) -> None:
    rows = rows_of(*made(shape), **switches)
    ids = rows.ids()
    assert len(ids) == len(set(ids))
    assert all(rows.cells(each, JOB_COLUMNS)[0] for each in ids)
    if not switches["flat"]:
        parents = [rows.parent(each) or each for each in ids]
        assert [each for i, each in enumerate(parents) if i == 0 or parents[i - 1] != each] == list(
            dict.fromkeys(parents)
        )


@given(SHAPES, SWITCHES)
def test_rows_that_are_equal_keep_the_order_of_the_config(
    shape: list[tuple[int, str]], switches: dict[str, Any]
) -> None:
    rows = rows_of(*made(shape), **(switches | {"sort": "restarts", "flat": True}))
    order = {key: i for i, key in enumerate(proc.key for proc in rows.world.procs())}
    jobs = list(rows.world.jobs)
    for restarts in range(3):
        same = [each for each in rows.ids() if restarts_of(rows, each) == restarts]
        by_job = [[each for each in same if each.startswith(f"{name}:")] for name in jobs]
        assert all(group == sorted(group, key=order.__getitem__) for group in by_job)


def restarts_of(rows: JobRows, key: str) -> int:
    found = rows.world.proc(key)
    assert found is not None
    return found.view.restarts


@given(SHAPES, SWITCHES)
def test_rebuilding_without_a_change_changes_nothing(shape: list[tuple[int, str]], switches: dict[str, Any]) -> None:
    rows = rows_of(*made(shape), **switches)
    before = rows.ids()
    rows.rebuild()
    assert rows.ids() == before


@given(SHAPES, st.integers(0, 40))
def test_a_rows_id_stays_while_others_come_and_go(shape: list[tuple[int, str]], pick: int) -> None:
    documents = made(shape)
    rows = rows_of(*documents)
    if not rows.ids():
        return
    cursor = rows.ids()[pick % len(rows.ids())]
    more = (job("aaa", proc("aaa:0"), proc("aaa:1")), *documents, job("zzz", proc("zzz:0")))
    rows.world.load(msgspec.convert(status(*more), wire.Status), NOW)
    rows.rebuild()
    assert cursor in rows.ids()
    assert rows.world.keys_of(cursor) == rows_of(*documents).world.keys_of(cursor)


# Cells


def test_a_change_dirties_the_processs_row_and_its_jobs() -> None:
    assert rows_of(*DEMO).touch({"web:1", "off:0"}) == {"web", "web:1", "off", "off:0"}


def test_marks_hold_for_the_processes_of_a_marked_job() -> None:
    rows = rows_of(*DEMO)
    assert not rows.marked("web:0")
    rows.mark("web")
    assert rows.marked("web")
    assert rows.marked("web:0")
    rows.mark("web")
    assert not rows.marked("web")


def test_a_row_can_be_had_as_text() -> None:
    assert rows_of(*DEMO).text("web:1") == ["● :1", "running", "2d04h", DASH, DASH, "0"]


def test_a_row_that_has_gone_is_empty() -> None:
    assert rows_of(*DEMO).cells("gone", JOB_COLUMNS) == [("", "")] * len(JOB_COLUMNS)


def test_use_and_its_last_minute_are_shown() -> None:
    rows = rows_of(job("web", proc("web:0"), proc("web:1")))
    for i in range(60):
        rows.world.sample({"web:0": [float(i), 310 << 20], "web:1": [1.0, 1 << 20]}, NOW - 59 + i)
    seen = shown(rows, "web:0")
    assert (seen["cpu"], seen["mem"]) == ("59%", "310M")
    assert len(seen["spark"]) == 5
    assert seen["spark"] == "".join(sorted(seen["spark"]))
    assert shown(rows, "web")["cpu"] == "60%"


def test_tags_stand_behind_the_name() -> None:
    rows = rows_of(
        job("db", proc("db:0"), proc("db:1", held=True), spec={"tty": True, "protected": True}),
        job("one", proc("one:0", "stopped", held=True)),
    )
    assert shown(rows, "db")["name"] == "▼ ● db  protected"
    assert shown(rows, "db:1")["name"] == "    ● :1  tty held"
    assert shown(rows, "one")["name"] == "▶ ⏸ one  held"


def test_ascii_is_ascii() -> None:
    rows = rows_of(*DEMO, glyphs="ascii")
    rows.world.sending(["worker"], "restart", NOW)
    rows.world.sample({"web:0": [50.0, 1]}, NOW)
    assert all(flat(cell).isascii() for each in rows.ids() for cell in rows.cells(each, JOB_COLUMNS))
    assert shown(rows, "worker")["state"] == "restart.."


def test_what_is_on_its_way_is_seen_in_glyph_word_and_role() -> None:
    rows = rows_of(*DEMO)
    rows.world.sending(["web:0"], "restart", NOW)
    name, state = rows.cells("web:0", JOB_COLUMNS)[:2]
    assert state == ("restart…", "busy")
    assert ("◐", "busy") in name


def test_S13_a_name_that_tries_something_is_shown_as_text() -> None:
    name = "\x1b[2J[bold]web[/]\x1b]0;x\x07"
    rows = rows_of(job(name, proc(f"{name}:0"), proc(f"{name}:1"), spec={"tags": ["\x1b[31m"]}))
    assert shown(rows, name)["name"] == "▼ ● [bold]web[/]"
    rows.flat = True
    rows.rebuild()
    assert shown(rows, f"{name}:0")["name"] == "● [bold]web[/]:0"


def test_K05_years_and_millions_keep_to_the_columns() -> None:
    old: dict[str, Any] = {
        "since": NOW - 2**31,
        "started_at": NOW - 2**31,
        "restarts": 10**6,
        "cpu": 12_800.0,
        "rss": 1 << 60,
    }
    rows = rows_of(
        job("j", *[proc(f"j:{i}", **old) for i in range(3)]),
        job("k", *[proc(f"k:{i}", "fatal", **old | {"exit": {"code": 2**31}}) for i in range(1200)]),
        job("l", *[proc(f"l:{i}", **old) for i in range(1200)]),
    )
    for row_id in ("j", "j:0", "k", "l", "l:7"):
        widths = [len(flat(cell)) for cell in rows.cells(row_id, JOB_COLUMNS)]
        assert [(c.id, w) for c, w in zip(JOB_COLUMNS, widths, strict=True) if c.width and w > c.width] == []
    assert shown(rows, "l")["state"] == "1k up"
    assert shown(rows, "k")["state"] == "1k FATAL"


# Speed: targets 10 ms for a rebuild of 5,000, 1 ms for the cells of 40


def big() -> JobRows:
    rows = rows_of(*[job(f"job{i}", *[proc(f"job{i}:{k}") for k in range(49)]) for i in range(100)])
    rows.folded.clear()
    rows.rebuild()
    assert len(rows.ids()) == 5_000
    return rows


@pytest.mark.parametrize("switches", [{}, {"sort": "state"}, {"filter": "job state:run"}, {"problems": True}])
def test_five_thousand_rows_are_rebuilt_in_no_time(switches: dict[str, Any]) -> None:
    rows = big()
    for name, value in switches.items():
        setattr(rows, name, value)
    assert quickest(rows.rebuild) < 0.03


def test_a_screenful_of_cells_is_made_in_no_time() -> None:
    rows = big()
    for i in range(61):
        rows.world.sample({each.key: [float(i), 1 << 20] for each in rows.world.procs()}, NOW - 60 + i)
    ids = rows.ids()[:40]
    assert quickest(lambda: [rows.cells(each, JOB_COLUMNS) for each in ids]) < 0.004


def quickest(do: Any) -> float:
    spent = []
    for _ in range(6):
        begin = time.thread_time()
        do()
        spent.append(time.thread_time() - begin)
    return min(spent)
