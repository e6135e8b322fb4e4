from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from typing import Any

import pytest

from taskmaster_core.cli import main
from tests.fakecore import FakeCore, Raw, job, process, status
from tests.unit.conftest import Cli


def page(*lines: tuple[str, bytes], cursor: Any = None, more: bool = False, **also: Any) -> Raw:
    rows = [[1764000000.5, key, "out", 0, False, len(data), ""] for key, data in lines]
    return Raw({"lines": rows, "cursor": cursor or {"v": 1}, "more": more, **also}, b"".join(data for _, data in lines))


def one(fake: FakeCore) -> None:
    fake.on("status", status(job("web", process("web:0"))))


def two(fake: FakeCore) -> None:
    fake.on("status", status(job("web", process("web:0")), job("worker", process("worker:0"))))


def test_a_single_process_is_shown_without_prefix(fake: FakeCore, cli: Cli) -> None:
    one(fake)
    fake.on("logs", page(("web:0", b"one\n"), ("web:0", b"two")))
    assert cli("logs", "web").out == "one\ntwo\n"
    assert fake.last("logs")["args"]["n"] == 100


def test_several_processes_are_told_apart(fake: FakeCore, cli: Cli) -> None:
    two(fake)
    fake.on("logs", page(("web:0", b"one\n"), ("worker:0", b"two\n")))
    assert cli("logs").out == "web:0    │ one\nworker:0 │ two\n"


def test_each_process_has_a_colour_of_its_own(fake: FakeCore, cli: Cli) -> None:
    two(fake)
    fake.on("logs", page(("web:0", b"one\n"), ("worker:0", b"two\n")))
    first, second = cli("logs", "--color", "always").out.splitlines()
    assert first.split("m")[0] != second.split("m")[0]


def test_what_would_steer_the_terminal_is_taken_out(fake: FakeCore, cli: Cli) -> None:
    one(fake)
    fake.on("logs", page(("web:0", b"a\x1b]0;evil\x07b\x1b[31mred\n")))
    assert cli("logs", "web").out == "abred\n"
    assert "\x1b[31mred" in cli("logs", "web", "--color", "always").out
    assert "\x1b]" not in cli("logs", "web", "--color", "always").out


def test_raw_is_byte_exact(fake: FakeCore, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    one(fake)
    data = bytes(range(256)) * 3
    fake.on("logs", page(("web:0", data[:300]), ("web:0", data[300:])))
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    assert main.main(["logs", "web", "--raw"]) == 0
    sys.stdout.flush()
    assert written.getvalue() == data
    assert fake.last("logs")["args"]["raw"] is True


def test_timestamps_are_shown_when_asked_for(fake: FakeCore, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    one(fake)
    fake.on("logs", page(("web:0", b"one\n")))
    line = cli("logs", "-t", "web").out
    assert line.endswith(".500 one\n")
    assert len(line.split(" one")[0]) == 23


def test_json_is_an_object_per_line(fake: FakeCore, cli: Cli) -> None:
    one(fake)
    fake.on("logs", page(("web:0", b"one\n")))
    assert json.loads(cli("logs", "--json").out) == {
        "at": 1764000000.5, "key": "web:0", "stream": "out", "offset": 0, "text": "one",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["-n", "5"], {"n": 5}),
        (["-g", "err.*"], {"pattern": "err.*"}),
        (["--stderr"], {"streams": ["err"], "n": 100}),
        (["--stdout", "--stderr"], {"n": 100}),
        (["--since", "@1700000000"], {"since": 1700000000.0}),
        (["--since", "@1", "--until", "@2", "-n", "3"], {"since": 1.0, "until": 2.0, "n": 3}),
    ],
)
def test_the_flags_become_arguments(fake: FakeCore, cli: Cli, words: list[str], args: dict[str, Any]) -> None:
    one(fake)
    fake.on("logs", page())
    assert cli("logs", "web", *words).status == 0
    assert fake.last("logs")["args"] == {**args, "limit": 1 << 20}


def test_pages_are_asked_for_until_there_is_no_more(fake: FakeCore, cli: Cli) -> None:
    one(fake)

    def answer(request: dict[str, Any]) -> Raw:
        if "cursor" not in request["args"]:
            return page(("web:0", b"one\n"), cursor={"at": 4}, more=True)
        assert request["args"]["cursor"] == {"at": 4}
        return page(("web:0", b"two\n"))

    fake.on("logs", answer)
    assert cli("logs", "web").out == "one\ntwo\n"


def test_files_that_cannot_be_read_are_named_once(fake: FakeCore, cli: Cli) -> None:
    one(fake)
    fake.on("logs", page(("web:0", b"one\n"), problems=["/l/x: permission denied"]))
    said = cli("logs", "web")
    assert said.err.count("/l/x: permission denied") == 1


@pytest.mark.parametrize("words", [["--since", "soon"], ["-n", "x"], ["-f", "--until", "1h"]])
def test_what_cannot_be_meant_is_a_usage_error(fake: FakeCore, cli: Cli, words: list[str]) -> None:
    one(fake)
    assert cli("logs", *words).status == 2


def test_following_goes_on_where_the_last_page_ended(fake: FakeCore, cli: Cli) -> None:
    """The second page is asked for because the file grew; the third ends the test as Ctrl-C would."""
    one(fake)
    cursors: list[Any] = []

    def answer(request: dict[str, Any]) -> Raw:
        cursors.append(request["args"].get("cursor"))
        if len(cursors) == 3:
            raise KeyboardInterrupt
        return page(("web:0", b"%d\n" % len(cursors)), cursor={"at": len(cursors)})

    # The reply to the third question never comes; the core's thread would die of an interrupt, so it stops instead.
    def scripted(request: dict[str, Any]) -> Any:
        try:
            return answer(request)
        except KeyboardInterrupt:
            threading.Thread(target=_interrupt_main, daemon=True).start()
            return ...

    fake.on("logs", scripted)
    feeding = threading.Thread(target=_grow, args=(fake, cursors))
    feeding.start()
    said = cli("logs", "-f", "web")
    feeding.join()
    assert said.out == "1\n2\n"
    assert said.status == 130
    assert cursors == [None, {"at": 1}, {"at": 2}]


def _grow(fake: FakeCore, cursors: list[Any]) -> None:
    for number in (1, 2):
        fake.until(lambda number=number: len(cursors) >= number and "log.web:0" in fake.topics)
        fake.publish("log.web:0", {"key": "web:0", "stream": "out", "path": "/l/o", "size": 9})


def _interrupt_main() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_following_subscribes_to_processes_that_come_later(fake: FakeCore, cli: Cli) -> None:
    two(fake)
    fake.on("logs", page())

    def scale() -> None:
        fake.until(lambda: "log.web:0" in fake.topics)
        new = [process("web:1"), process("api:0")]
        fake.publish("state", {"boot": "b1", "seq": 1, "processes": new, "gone": []})
        fake.until(lambda: "log.web:1" in fake.topics)
        _interrupt_main()

    thread = threading.Thread(target=scale)
    thread.start()
    assert cli("logs", "-f", "web").status == 130
    thread.join()
    assert "log.api:0" not in fake.topics
