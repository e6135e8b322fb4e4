"""The line mode: a table, then one sentence for each change, and nothing that moves a cursor."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskmaster_core.cli import watch
from tests.fakecore import FakeCore, job, process, status
from tests.harness import ROOT

Started = Callable[..., "Lines"]


class Lines:
    """A command line that goes on, and the lines it has printed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.text = ""

    def until(self, wanted: str, seconds: float = 10.0) -> str:
        deadline = time.monotonic() + seconds
        assert self.process.stdout is not None
        while wanted not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"{wanted!r} did not come; there is {self.text!r}"
            if select.select([self.process.stdout], [], [], left)[0]:
                more = os.read(self.process.stdout.fileno(), 65536)
                assert more, f"it ended; there is {self.text!r}"
                self.text += more.decode()
        return self.text


@pytest.fixture
def started(fake: FakeCore) -> Iterator[Started]:
    running: list[Lines] = []

    def start(*words: str) -> Lines:
        env = {**os.environ, "XDG_RUNTIME_DIR": str(fake.home / "run"), "TERM": "xterm"}
        made = subprocess.Popen(
            [sys.executable, "-m", "taskmaster_core", *words],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=env, cwd=ROOT,
        )  # fmt: skip
        running.append(Lines(made))
        fake.until(lambda: "state" in fake.topics, 15)
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()


def batch(*processes: dict[str, Any], seq: int = 8, boot: str = "b1", gone: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"boot": boot, "seq": seq, "processes": list(processes), "gone": list(gone)}


def test_changes_follow_the_table_one_a_line_and_without_escapes(fake: FakeCore, started: Started) -> None:
    fake.on("status", status(job("web", process("web:0")), job("db", process("db:0"))))
    it = started("--color", "never", "status", "--watch")
    first = it.until("Changes follow")
    assert "web" in first
    assert "NAME" in first
    fake.publish("state", batch(process("web:0", cpu=3.0)))
    fake.publish("state", batch(process("web:0", "fatal", reason="gave up"), seq=9))
    fake.publish("state", batch(seq=10, gone=("db:0",)))
    said = it.until("db:0 is gone").removeprefix(first)
    assert [line.partition(" ")[2] for line in said.splitlines()] == [
        "web:0 has failed for good: gave up", "db:0 is gone",
    ]  # fmt: skip
    assert "\x1b" not in it.text


def test_with_json_each_line_is_a_document(fake: FakeCore, started: Started) -> None:
    fake.on("status", status(job("web", process("web:0"))))
    it = started("status", "--watch", "--json")
    it.until('"taskmaster.status/1"')
    fake.publish("state", batch(process("web:0", "stopped")))
    fake.publish("state", batch(seq=9, gone=("web:0",)))
    documents = [json.loads(line) for line in it.until('"gone"}').splitlines()]
    assert documents[0]["jobs"][0]["name"] == "web"
    assert [(each["key"], each["state"]) for each in documents[1:]] == [("web:0", "stopped"), ("web:0", "gone")]


def test_only_what_was_selected_is_told(fake: FakeCore, started: Started) -> None:
    fake.on("status", status(job("web", process("web:0"))))
    it = started("status", "--watch", "web")
    it.until("Changes follow")
    fake.publish("state", batch(process("db:0", "fatal")))
    fake.publish("state", batch(process("web:0", "exited"), seq=9))
    assert "db:0" not in it.until("web:0 has ended")


def test_what_was_missed_is_asked_for_after_another_core_came(fake: FakeCore, started: Started) -> None:
    fake.on("status", status(job("web", process("web:0"))))
    it = started("status", "--watch")
    it.until("Changes follow")
    fake.on("status", status(job("web", process("web:0", "backoff")), boot="b2", seq=1))
    fake.publish("beat", {"boot": "b2", "seq": 1})
    it.until("web:0 waits for its next try")


def test_ctrl_c_ends_it(fake: FakeCore, started: Started) -> None:
    fake.on("status", status(job("web", process("web:0"))))
    it = started("status", "--watch")
    it.until("Changes follow")
    it.process.send_signal(signal.SIGINT)
    assert it.process.wait(10) == 130


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, process("web:0"), "web:0 is running with pid 4000"),
        (process("web:0"), process("web:0", held=True), "web:0 is held: running"),
        (process("web:0", held=True), process("web:0"), "web:0 is released: running"),
        (
            process("web:0", "exited", held=True),
            process("web:0", "pending", reason="released by uid 0"),
            "web:0 waits to be started: released by uid 0; it is released",
        ),
        (process("web:0"), process("web:0", ready=False), "web:0 runs and is not well with pid 4000"),
        (process("web:0"), process("web:0", "backoff", reason="it died"), "web:0 waits for its next try: it died"),
    ],
)
def test_sentences(before: dict[str, Any] | None, after: dict[str, Any], said: str) -> None:
    assert watch.sentence(before, after, time.time()) == said


def test_backoff_tells_how_long() -> None:
    waits = process("web:0", "backoff", next_start_at=time.time() + 90.5)
    assert watch.sentence(None, waits, time.time()) == "web:0 waits for its next try in 1m30s"
