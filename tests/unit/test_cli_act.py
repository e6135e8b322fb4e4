from __future__ import annotations

import json
import time
from typing import Any

import pytest

from taskmaster_core.errors import NoSuchJob, TimedOut
from tests.fakecore import FakeCore, done, process
from tests.unit.conftest import Cli


@pytest.mark.parametrize("op", ["start", "stop", "restart", "kill"])
def test_an_act_asks_for_its_effect(fake: FakeCore, cli: Cli, op: str) -> None:
    fake.on(op, done(("web:0", "running")))
    assert cli(op, "web", "api:1").status == 0
    asked = fake.last(op)
    assert (asked["select"], asked["args"]) == (["web", "api:1"], {"wait": True})


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["--no-wait"], {"wait": False}),
        (["--timeout", "1m30s"], {"wait": True, "timeout": 90.0}),
        (["--timeout", "5", "--no-wait"], {"wait": False}),
    ],
)
def test_waiting_is_as_asked(fake: FakeCore, cli: Cli, words: list[str], args: dict[str, Any]) -> None:
    fake.on("stop", done(("web:0", "stopped")))
    cli("stop", "web", *words)
    assert fake.last("stop")["args"] == args


def test_few_outcomes_are_told_one_by_one(fake: FakeCore, cli: Cli) -> None:
    outcome = {"key": "web:0", "ok": True, "state": "running", "pid": 4711, "note": "was running already"}
    fake.on("start", done(outcome))
    assert cli("start", "web").out == "web:0 running (pid 4711): was running already\n"


def test_of_many_outcomes_the_bad_ones_are_told_and_the_rest_counted(fake: FakeCore, cli: Cli) -> None:
    bad = {"key": "web:41", "ok": False, "state": "fatal", "note": "exit code 3"}
    fake.on("start", done(*((f"web:{index}", "running") for index in range(41)), bad, ok=False))
    said = cli("start", "web")
    assert said.out == "start: 41 of 42 processes as asked (41 running)\n"
    assert "web:41 fatal: exit code 3" in said.err
    assert said.status == 1


def test_quiet_says_only_what_went_wrong(fake: FakeCore, cli: Cli) -> None:
    bad = {"key": "web:1", "ok": False, "state": "fatal"}
    fake.on("start", done(("web:0", "running"), bad, ok=False))
    said = cli("-q", "start", "web")
    assert said.out == ""
    assert "web:1 fatal" in said.err


def test_json_is_the_result_as_it_came(fake: FakeCore, cli: Cli) -> None:
    answer = done(("web:0", "running"))
    fake.on("start", answer)
    assert json.loads(cli("start", "web", "--json").out) == answer


def test_a_timeout_tells_how_far_it_came(fake: FakeCore, cli: Cli) -> None:
    def answer(request: dict[str, Any]) -> None:
        error = TimedOut("not done after 1 s: web:1", "it may still happen")
        late = {"key": "web:1", "ok": False, "state": "stopping"}
        error.detail = done(("web:0", "stopped"), late, ok=False)  # type: ignore[attr-defined]
        raise error

    fake.on("stop", answer)
    said = cli("stop", "web", "--timeout", "1")
    assert said.status == 5
    assert "web:0 stopped" in said.out
    assert "web:1 stopping" in said.err
    assert "not done after 1 s" in said.err


def test_acting_on_nothing_is_a_usage_error(fake: FakeCore, cli: Cli) -> None:
    assert cli("stop").status == 2
    assert fake.requests == []


@pytest.mark.parametrize(("word", "sent"), [("HUP", "HUP"), ("SIGUSR1", "SIGUSR1"), ("10", 10)])
def test_a_signal_is_sent_by_name_or_number(fake: FakeCore, cli: Cli, word: str, sent: object) -> None:
    fake.on("signal", done(("web:0", "running")))
    assert cli("signal", word, "web").status == 0
    assert (fake.last("signal")["args"], fake.last("signal")["select"]) == ({"signal": sent}, ["web"])


def test_scale_names_job_and_number(fake: FakeCore, cli: Cli) -> None:
    fake.on("scale", done(("web:3", "running")))
    assert cli("scale", "web=4").status == 0
    assert (fake.last("scale")["select"], fake.last("scale")["args"]) == (["web"], {"n": 4, "wait": True})


@pytest.mark.parametrize("word", ["web", "web=", "=4", "web=x", "web=-1"])
def test_a_wrong_scale_is_a_usage_error(fake: FakeCore, cli: Cli, word: str) -> None:
    assert cli("scale", word).status == 2
    assert fake.requests == []


def test_reset_forgets_failures(fake: FakeCore, cli: Cli) -> None:
    fake.on("reset", done(("web:0", "fatal")))
    assert cli("reset", "web").status == 0
    assert fake.last("reset")["args"] == {}


def test_wait_carries_state_and_timeout(fake: FakeCore, cli: Cli) -> None:
    fake.on("wait", done(("web:0", "exited")))
    assert cli("wait", "web", "--for", "exited", "--timeout", "5").status == 0
    assert fake.last("wait")["args"] == {"for": "exited", "timeout": 5.0}


def test_progress_is_a_line_per_change_where_stderr_is_no_terminal(fake: FakeCore, cli: Cli) -> None:
    def answer(request: dict[str, Any]) -> Any:
        while "state" not in fake.topics and fake._xpub.poll(1000):
            fake._subscribed(fake._xpub.recv())
        for state in ("starting", "starting", "running"):
            changed = [process("web:0", state), process("api:0", state)]
            batch = {"boot": "b1", "seq": 1, "processes": changed, "gone": []}
            fake._xpub.send_multipart([b"state", json.dumps(batch).encode()])
        time.sleep(0.1)  # states and answers come by two sockets, so only time puts them in an order
        return done(("web:0", "running"))

    fake.on("start", answer)
    said = cli("start", "web")
    assert said.err.splitlines()[:2] == ["web:0 starting", "web:0 running"]
    assert "api:0" not in said.err


def test_an_unknown_job_says_the_nearest(fake: FakeCore, cli: Cli) -> None:
    def answer(request: dict[str, Any]) -> None:
        raise NoSuchJob("no job or process matches `wbe`", "did you mean `web`?")

    fake.on("stop", answer)
    said = cli("stop", "wbe")
    assert said.status == 4
    assert "no job or process matches `wbe`\n  did you mean `web`?" in said.err
