from __future__ import annotations

import json
import threading

import pytest

from tests.fakecore import FakeCore, event, job, process, status
from tests.unit.conftest import Cli
from tests.unit.test_cli_logs import _interrupt_main


def test_an_event_is_a_line_with_time_number_and_sentence(fake: FakeCore, cli: Cli) -> None:
    fake.on("events", [event(42, "exited", code=3, run=1, state="backoff", expected=False)])
    said = cli("events")
    assert fake.last("events")["args"] == {"n": 100}
    assert "#42 " in said.out
    assert "web:0" in said.out


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["-n", "5"], {"n": 5}),
        (["--since", "4711"], {"since": 4711}),
        (["--since", "#4711", "-n", "2"], {"since": 4711, "n": 2}),
        (["--since", "@1700000000"], {"since_time": 1700000000.0}),
    ],
)
def test_the_flags_become_arguments(fake: FakeCore, cli: Cli, words: list[str], args: dict[str, object]) -> None:
    fake.on("events", [])
    assert cli("events", *words).status == 0
    assert fake.last("events")["args"] == args


def test_json_is_an_event_a_line_as_it_came(fake: FakeCore, cli: Cli) -> None:
    told = [event(1), event(2, "exited", code=3)]
    fake.on("events", told)
    assert [json.loads(line) for line in cli("events", "--json").out.splitlines()] == told


def test_a_tag_is_asked_for_by_the_names_of_its_jobs(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(job("web", process("web:0")))).on("events", [])
    cli("events", "@front", "db:*")
    assert fake.last("status")["select"] == ["@front"]
    assert fake.last("events")["select"] == ["db:*", "web"]


def test_following_goes_on_without_a_gap_and_leaves_out_what_was_not_selected(fake: FakeCore, cli: Cli) -> None:
    fake.seq = 7
    fake.on("events", lambda request: [event(7)] if "n" in request["args"] else [])

    def publish() -> None:
        fake.until(lambda: {"event", "beat"} <= fake.topics and fake.ops().count("events") >= 2)
        for seq, key in ((8, "web:0"), (9, "api:0"), (10, "web")):
            fake.publish("event.started", event(seq, key=key))
        fake.publish("beat", {"boot": "b1", "seq": 10})
        fake.until(lambda: fake.ops().count("events") >= 2)
        fake.on("events", lambda request: _interrupt_main() or [])
        fake.publish("beat", {"boot": "b1", "seq": 11})

    thread = threading.Thread(target=publish)
    thread.start()
    said = cli("events", "-f", "--json", "web")
    thread.join()
    assert said.status == 130
    assert [json.loads(line)["seq"] for line in said.out.splitlines()] == [7, 8, 10]


def test_what_an_event_carries_cannot_steer_the_terminal(fake: FakeCore, cli: Cli) -> None:
    fake.on("events", [event(1, "notice", text="\x1b[2J\x1b]0;x\x07")])
    assert "\x1b" not in cli("events").out
