"""A hostile client of a real core: it may ask for anything, and gets its role and not more."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import zmq

from taskmaster_core.errors import BadRequest, UsageError
from tests.harness import Daemon, program
from tests.integration.conftest import Start
from tests.integration.test_access import OPERATOR, READER, STRANGERS, asking, root

CONFIG = f"""
[taskmaster.access]
operators = [{OPERATOR}]
readers = [{READER}]
[[task]]
name = "web"
cmd = "sleep 1000"
[[task]]
name = "slow"
cmd = "sh -c 'trap : TERM; while :; do sleep 0.1; done'"
stopdelay = 3
[[task]]
name = "shell"
cmd = "cat"
tty = true
"""


def open_to_all(d: Daemon) -> Daemon:
    """Take the walls away that stand before the roles."""
    (d.dir / "run").chmod(0o711)
    for path in (d.places.rundir, os.path.dirname(d.places.rundir), d.places.commands, d.places.events):
        os.chmod(path, 0o777)
    return d


@pytest.fixture(scope="module")
def core() -> Iterator[Daemon]:
    d = Daemon(CONFIG).start()
    d.wait_state("web:0", "running")
    yield open_to_all(d)
    assert d.close() == []


def code(reply: dict[str, Any]) -> str:
    return "ok" if reply["ok"] else str(reply["error"]["code"])


BIG = 10**30
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("events", {"since": BIG}),
    ("events", {"until": -BIG}),
    ("events", {"n": BIG}),
    ("events", {"types": [1, None, {}, []]}),
    ("generation", {"number": BIG}),
    ("logs", {"n": BIG, "cursor": {"v": BIG}}),
    ("find", {"pattern": "x", "most": BIG}),
    ("wait", {"for": "running", "timeout": BIG}),
]


@pytest.mark.parametrize(("op", "args"), WRONG, ids=[f"{op} {next(iter(args))}" for op, args in WRONG])
def test_P07_numbers_and_lists_beyond_reason_are_refused_and_do_not_end_the_core(
    core: Daemon, op: str, args: dict[str, Any]
) -> None:
    pid = core.core_pid
    (reply,) = asking(core, os.getuid(), os.getgid(), {"op": op, "select": ["web"], "args": args})
    assert code(reply) in ("usage", "bad_request", "no_such_job")
    assert core.core_pid == pid


def cursors(path: str) -> Iterator[dict[str, Any]]:
    """Yield cursors that no answer ever brought."""
    points: list[Any] = ["", 0, 0, 0]
    wrong: list[list[Any]] = [["\0", "x.y", "/etc/shadow", "." + "9" * 5000, "../1"], *[[-1, BIG, 1 << 63]] * 3]
    for place, values in enumerate(wrong):
        for value in values:
            yield {"v": 1, "at": {path: [*points[:place], value, *points[place + 1 :]]}}
    for more in ({"left": -1}, {"left": BIG}, {"packed": "AAAA"}, {"to": {path: ["x.y", 0, 0, 0]}}, {"waits": -9}):
        yield {"v": 1, "at": {path: points}, **more}
    for kind, when in (("time", 1e308), ("line", -1e308), ("nothing", 0)):
        yield {"v": 1, "at": {}, "rest": {"kind": kind, "when": when, "first": "/etc/shadow"}}


def test_P07_a_place_in_a_log_that_somebody_made_up_is_no_place(core: Daemon) -> None:
    """No cursor that a client makes up ends the core, or reads another file than those of the process."""
    pid = core.core_pid
    path = core.request("show", "web")["jobs"][0]["paths"]["web:0"]["out"]
    for cursor in cursors(path):
        for op, back in (("logs", False), ("logs", True), ("find", True)):
            with suppress(BadRequest, UsageError):
                _, raw = core.request_raw(op, "web", cursor=cursor, back=back, pattern="root")
                assert raw == b"", cursor
    assert core.core_pid == pid


@pytest.mark.parametrize("op", ["status", "events", "logs", "stop"])
def test_S16_a_thousand_patterns_in_one_request_are_refused_at_once(core: Daemon, op: str) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError):
        core.request(op, *["*" * number for number in range(1, 1_000)])
    assert time.monotonic() - began < 3


def test_S16_ten_thousand_names_in_one_request_are_no_trouble(core: Daemon) -> None:
    assert len(core.request("status", *["web:0", "web", "slow:0"] * 10_000)["jobs"]) == 2


def asked(op: str, *select: str, id_: str, **args: Any) -> dict[str, Any]:
    return {"op": op, "select": list(select), "id": id_, "args": args}


@root
def test_P10_the_id_of_somebody_elses_open_request_gets_neither_its_answer_nor_the_core(core: Daemon) -> None:
    """Who uses the id of another's open request is refused, and the other gets its answer."""
    pid, id_ = core.core_pid, uuid.uuid4().hex
    core.wait_state("slow:0", "running")
    with zmq.Context() as context, context.socket(zmq.REQ) as admin:
        admin.linger = 0
        admin.connect(f"ipc://{core.places.commands}")
        admin.send(json.dumps({"v": 1, **asked("restart", "slow", id_=id_)}).encode())
        core.wait_state("slow:0", "stopping")
        wishes = [asked("wait", "web", id_=id_, **{"for": state}) for state in ("running", "stopped")]
        stolen = asking(core, READER, READER, *wishes)
        assert [code(each) for each in stolen] == ["refused", "refused"]
        assert admin.poll(15_000), "the answer went to somebody else"
        told = json.loads(admin.recv())
    assert told["result"]["outcomes"][0]["key"] == "slow:0"
    assert core.core_pid == pid


@root
def test_P10_somebody_elses_lease_is_none_of_ones_own(core: Daemon) -> None:
    """Who knows the name of another's lease on a terminal can neither type with it, nor end it, nor take it over."""
    core.wait_state("shell:0", "running")
    core.request("attach", "shell:0", lease="L")
    spying = [
        asked("input", id_=uuid.uuid4().hex, lease="L", text="evil\n"),
        asked("resize", id_=uuid.uuid4().hex, lease="L", columns=1, rows=1),
        asked("detach", id_=uuid.uuid4().hex, lease="L"),
    ]
    assert [code(each) for each in asking(core, OPERATOR, STRANGERS, *spying)] == ["refused"] * 3
    assert [code(each) for each in asking(core, READER, READER, spying[2])] == ["refused"]
    look = asked("attach", "shell:0", id_=uuid.uuid4().hex, lease="L", write=False)
    (looked,) = asking(core, READER, READER, look)
    assert looked["result"]["write"] is False
    again = core.request("attach", "shell:0", lease="L")
    assert (again["write"], again["writer"]) == (True, f"uid 0 pid {os.getpid()}")
    core.request("detach", lease="L")


@root
def test_P10_one_user_cannot_take_all_places_at_a_terminal(core: Daemon) -> None:
    core.wait_state("shell:0", "running")
    crowd = [asked("attach", "shell:0", id_=uuid.uuid4().hex, lease=f"L{n}", write=False) for n in range(60)]
    assert [code(each) for each in asking(core, READER, READER, *crowd)].count("ok") <= 20
    assert core.request("attach", "shell:0", lease="mine")["write"] is True
    core.request("detach", lease="mine")


@root
def test_S03_an_act_under_the_id_of_an_older_request_is_written_down_too(daemon: Start) -> None:
    d = open_to_all(daemon(CONFIG))
    d.wait_state("web:0", "running")
    assert code(asking(d, os.getuid(), os.getgid(), asked("restart", "web", id_="known"))[0]) == "ok"
    d.kill_core()
    open_to_all(d)
    assert code(asking(d, OPERATOR, STRANGERS, asked("stop", "web", id_="known"))[0]) == "ok"
    d.wait(lambda: [each for each in d.events("asked") if each.data["op"] == "stop"])
    assert f"uid {OPERATOR} " in d.events("asked")[-1].cause.who


@root
def test_S03_who_lost_his_role_hears_no_more_of_what_he_had_subscribed_to(daemon: Start) -> None:
    d = open_to_all(daemon(CONFIG))
    command = [*program("asker.py", READER, READER), d.places.events, "--hear", "beat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=d.env) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "beat\n", "a reader hears the core"
            d.write_config(CONFIG.replace(f"readers = [{READER}]", "readers = []"))
            d.request("reload")
            assert reader.communicate(timeout=30)[0] in ("", "beat\n"), "but one that was on its way"
        finally:
            reader.kill()


@root
def test_a_role_that_stays_keeps_its_subscriptions_over_a_reload_of_the_lists(daemon: Start) -> None:
    d = open_to_all(daemon(CONFIG))
    command = [*program("asker.py", READER, READER), d.places.events, "--hear", "beat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=d.env) as reader:
        try:
            assert reader.stdout is not None
            reader.stdout.readline()
            d.write_config(CONFIG.replace(f"[{OPERATOR}]", f"[{OPERATOR}, 65099]"))
            d.request("reload")
            assert [reader.stdout.readline() for _ in range(2)] == ["beat\n"] * 2
        finally:
            reader.kill()
