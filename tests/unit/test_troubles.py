"""What is wrong is one line each, told at its begin and at its end, and known to the next core."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

import pytest

from taskmaster_core import config
from taskmaster_core import machine as m
from taskmaster_core.shim.frames import encode
from taskmaster_core.shimlink import ShimLink
from taskmaster_core.spec import Exit, Restart, State
from taskmaster_core.troubles import REMEDIES, Troubles
from tests.samples import ctx, facts, proc, spec

NO_FORK = Exit(stage="fork", errno="EAGAIN", message="Resource temporarily unavailable")


class Heard:
    """Collect what is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.troubles = Troubles(lambda type_, cause, **data: self.said.append((type_, data)))


@pytest.fixture
def heard() -> Heard:
    return Heard()


# Once per episode ----------------------------------------------------------------------------------------------------


def test_a_trouble_is_told_when_it_comes_and_when_it_goes(heard: Heard) -> None:
    for text in ("", "disk full", "disk full", "still full", "", ""):
        heard.troubles.note("journal", text)
    told = [("journal_trouble", {"text": "disk full", "over": False})]
    assert heard.said == [*told, ("journal_trouble", {"text": "is well again", "over": True})]


def test_words_that_change_are_shown_and_not_told_again(heard: Heard) -> None:
    heard.troubles.note("journal", "locked")
    heard.troubles.note("journal", "disk full")
    assert heard.troubles.lines() == ["disk full"]
    assert len(heard.said) == 1


def test_many_of_one_part_are_one_line(heard: Heard) -> None:
    for number in range(1000):
        heard.troubles.heard("log", f"output to /{number} is being lost: ENOSPC", f"/{number}", {"path": f"/{number}"})
    heard.troubles.note("journal", "off")
    lost = "output to /0 is being lost: ENOSPC (and 999 more like it)"
    assert list(heard.troubles.items()) == [("log", lost), ("journal", "off")]


def test_what_the_shim_still_has_is_taken_over_in_silence_and_its_end_is_told(heard: Heard) -> None:
    heard.troubles.inherit([{"part": "log", "name": "/f", "text": "output to /f is being lost: ENOSPC"}])
    assert heard.said == []
    heard.troubles.heard("log", "", "/f", {"path": "/f", "over": True})
    assert heard.said == [("log_trouble", {"path": "/f", "over": True})]
    assert heard.troubles.lines() == []


def test_what_a_dead_shim_told_of_is_over_and_what_the_core_knows_itself_is_not(heard: Heard) -> None:
    heard.troubles.heard("log", "lost", "/f", {})
    heard.troubles.note("journal", "off")
    heard.troubles.forsake()
    assert heard.troubles.lines() == ["off"]
    assert [(type_, data.get("over")) for type_, data in heard.said][2:] == [("log_trouble", True)]


def test_every_part_has_a_remedy_in_doctor_and_a_paragraph_in_the_manual() -> None:
    manual = (config.__file__.partition("taskmaster_core")[0]) + "docs/troubleshooting.md"
    with open(manual, encoding="utf-8") as file:
        text = file.read()
    assert [part for part in REMEDIES if f"`{part}`" not in text] == []


# What is short ends no job -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", list(Restart))
def test_R04_a_start_that_fails_for_want_of_resources_uses_up_no_retry(restart: Restart) -> None:
    starting = proc(State.STARTING, spec(retry=0, restart=restart), pid=None, started_at=None, tries=0)
    found = m.step(starting, m.SpawnFailed(starting.run, NO_FORK), ctx())
    assert (found.proc.state, found.proc.tries) == (State.BACKOFF, 0)
    assert found.proc.deadline is not None
    assert facts(found, "failed")[0]["stage"] == "fork"


@pytest.mark.parametrize("end", [Exit(stage="exec", errno="ENOENT"), Exit(stage="lock", errno="EEXIST")])
def test_R04_other_failed_starts_use_it_up(end: Exit) -> None:
    starting = proc(State.STARTING, spec(retry=0), pid=None, started_at=None, tries=0)
    assert m.step(starting, m.SpawnFailed(starting.run, end), ctx()).proc.state is State.FATAL


def test_R04_waits_grow_while_something_is_short() -> None:
    now, waits = proc(State.STARTING, spec(retry=0), pid=None, started_at=None), []
    for _ in range(12):
        failed = m.step(now, m.SpawnFailed(now.run, NO_FORK), ctx()).proc
        assert failed.deadline is not None
        waits.append(failed.deadline - failed.since)
        queued = m.step(failed, m.Deadline(), ctx()).proc
        now = m.step(queued, m.GateOpened(), ctx()).proc
    assert waits[0] < 0.2
    assert 20 < waits[-1] < 40


# The wire ------------------------------------------------------------------------------------------------------------


def test_L11_what_lies_unread_in_the_wire_tells_of_a_shim_that_does_not_answer() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    link = ShimLink(ours.detach())
    with theirs:
        assert link.silent_for == 0.0
        link.send([{"t": "beat"}])
        time.sleep(0.02)
        assert link.silent_for >= 0.02
        theirs.recv(1000)
        assert link.silent_for == 0.0
        link.send([{"t": "beat"}])
        assert link.silent_for < 0.02, "counted from the first that was not read"
        theirs.sendall(encode([{"t": "error", "message": ""}]))
        assert link.receive()
        assert link.silent_for == 0.0, "one that speaks lives"
        link.close()
        assert link.silent_for == 0.0


# A file of the job's own ---------------------------------------------------------------------------------------------


def test_G19_rotation_of_a_file_that_the_job_has_itself_is_refused_with_the_reason(tmp_path: Any) -> None:
    """Never rotate a `direct` file: no file system in between could do it without losing a byte."""
    path = os.path.join(tmp_path, "taskmaster.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write('[[task]]\nname = "a"\ncmd = "x"\nlog = { direct = true, maxsize = "1MB" }\n')
    (problem,) = config.load([path], {}, privileged=False).problems
    assert problem.code == "E304"
    assert "nothing is rotated" in problem.message
