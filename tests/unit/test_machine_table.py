"""The table is total, every cell has a name and a sentence, and it is the table of the design."""

from __future__ import annotations

from typing import get_args

import pytest

from taskmaster_core import machine as m
from taskmaster_core.spec import State
from tests.samples import ctx, proc, stimuli

# The design's own table; `·` ignore, ✗ refuse. Two rows are added at its end; `note_left` is new: a run that left
# descendants behind ends a second time, when they have ended (docs/adr/0002).
DESIGN = """
| stimulus | stopped | pending | starting | running | backoff | stopping | exited | fatal | unknown |
| Start | begin | ✗ already | ✗ already | ✗ already | begin | want_up | begin | begin | want_up |
| Stop | ✗ not running | settle | stop | stop | settle | want_down | settle | settle | want_down |
| Kill | ✗ not running | settle | kill | kill | settle | kill | settle | settle | want_down |
| Restart | begin | ✗ already | restart | restart | begin | want_up | begin | begin | want_up |
| Send | ✗ | ✗ | send | send | ✗ | send | ✗ | ✗ | ✗ |
| Remove | forget | forget | stop_then_forget | stop_then_forget | forget | want_gone | forget | forget | want_gone |
| Readmit | · | · | · | · | · | readmit | · | · | readmit |
| Reconfigured | · | · | recount | relaunch_if_changed | begin_if_wanted | · | begin_if_wanted | begin_if_wanted | · |
| GateOpened | · | launch | · | · | · | · | · | · | · |
| Spawned | · | · | spawned | · | · | note_pid | · | · | · |
| SpawnFailed | · | · | failed_start | · | · | stopped_unborn | · | · | · |
| Exited | note_left | · | early_exit | exited | note_left | stopped | note_left | note_left | · |
| Deadline | · | · | succeed | · | retry_now | escalate | · | · | · |
| LinkLost | · | · | lose | lose | · | lose | · | · | · |
| Found | · | · | · | · | · | · | · | · | adopt |
| NotFound | · | · | · | · | · | · | · | · | missing |
| Reset | forgive | forgive | forgive | forgive | forgive_and_retry | forgive | forgive | forgive_and_rest | forgive |
| Hold | hold | hold_retry | hold | hold | hold_retry | hold_after | hold | hold | hold |
| Release | release | release | release | release | release | release | resume | resume | release |
| Unkillable | · | · | · | · | · | still_there | · | · | · |
"""
RENAMED = {"Restart": "Relaunch"}  # the policy of that name is in spec.py
CELLS = {"·": "ignore", "✗ already": "refuse_already", "✗ not running": "refuse_not_running", "✗": "refuse_not_running"}


def _of_design() -> dict[str, dict[State, str]]:
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in DESIGN.strip().splitlines()]
    return {
        RENAMED.get(name, name): {State(s): CELLS.get(cell, cell) for s, cell in zip(head[1:], cells, strict=True)}
        for name, *cells in rows
    }


def test_every_stimulus_has_a_row() -> None:
    assert set(m.TABLE) == set(get_args(m.Stimulus))


@pytest.mark.parametrize("stimulus", m.TABLE, ids=lambda kind: kind.__name__)
def test_every_row_has_a_named_cell_for_every_state(stimulus: type) -> None:
    row = m.TABLE[stimulus]
    assert list(row) == list(State)
    assert all(cell.__name__ != "<lambda>" and cell.__doc__ for cell in row.values())


def test_table_is_the_table_of_the_design() -> None:
    found = {kind.__name__: {state: cell.__name__ for state, cell in row.items()} for kind, row in m.TABLE.items()}
    assert found == _of_design()


def test_samples_hold_one_stimulus_of_each_kind() -> None:
    assert [type(each) for each in stimuli()] == list(m.TABLE)


def test_a_row_without_one_state_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        m._row(stopped=m.ignore)  # type: ignore[call-arg]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("stimulus", stimuli(), ids=lambda each: type(each).__name__)
def test_every_cell_answers(stimulus: m.Stimulus, state: State) -> None:
    before = proc(state)
    found = m.step(before, stimulus, ctx())
    cell = m.TABLE[type(stimulus)][state].__name__
    if cell == "ignore":
        assert found == m.Step(before)
    if cell.startswith("refuse"):
        assert found.proc == before
        assert found.refused.startswith("web:0 is ")
        assert not found.effects


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "report", [each for each in stimuli(run=2) if hasattr(each, "run") and not isinstance(each, m.Found)], ids=repr
)
def test_a_report_about_another_run_is_ignored(report: m.Stimulus, state: State) -> None:
    assert m.step(proc(state), report, ctx()) == m.Step(proc(state))
