"""Roles on a real core: who may do what is decided there, and who did what is written down."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import taskmaster_core.daemon  # noqa: F401  # `logs` and `doctor` join the table there
from taskmaster_core.access import OPS, Role
from taskmaster_core.ops import TABLE
from tests.harness import Daemon, program
from tests.integration.conftest import Start

CREW, GUESTS, STRANGERS = 64_001, 64_002, 64_003
"""Groups; nobody on the machine needs to have heard of them."""
OPERATOR, READER, MEMBER, STRANGER = 65_001, 65_002, 65_003, 65_004

CONFIG = f"""
[taskmaster]
socketgroup = {CREW}
[taskmaster.access]
operators = [{OPERATOR}]
readers = [{READER}, "@{GUESTS}"]
[[task]]
name = "web"
cmd = "sleep 1000"
"""

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

ARGS: dict[str, dict[str, Any]] = {
    "signal": {"signal": "CONT"}, "scale": {"n": 1}, "wait": {"for": "running"}, "generation": {"number": 1},
    "find": {"pattern": "x"},
}  # fmt: skip


def asking(d: Daemon, uid: int, gid: int, *requests: dict[str, Any], groups: tuple[int, ...] = ()) -> list[Any]:
    """Return the replies to requests of another user."""
    texts = [json.dumps(each) for each in requests]
    said = run(d, uid, (gid, *groups), d.places.commands, *texts)
    return [json.loads(line) for line in said.splitlines()]


def run(d: Daemon, uid: int, groups: tuple[int, ...], *args: str) -> str:
    command = [*program("asker.py", uid, ",".join(map(str, groups))), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=d.env).stdout


def request(op: str) -> dict[str, Any]:
    return {"op": op, "select": ["web"], "args": ARGS.get(op, {})}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Daemon]:
    d = Daemon(CONFIG)
    (d.dir / "run").chmod(0o711)
    d.start().wait_state("web:0", "running")
    # Layer by layer: the directory and the sockets would keep the stranger out before his role is looked at.
    for path in (d.places.rundir, f"{d.places.rundir}/..", d.places.commands, d.places.events):
        os.chmod(path, 0o777)
    yield d
    assert d.close() == []


def code(reply: dict[str, Any]) -> str:
    return "ok" if reply["ok"] else str(reply["error"]["code"])


@root
def test_S03_a_reader_is_refused_everything_that_acts(guarded: Daemon) -> None:
    pid = guarded.pids("web")
    acting = sorted(op for op in TABLE if OPS[op] > Role.READER)
    replies = asking(guarded, READER, READER, *map(request, acting))
    assert {op: code(reply) for op, reply in zip(acting, replies, strict=True)} == dict.fromkeys(acting, "refused")
    assert guarded.pids("web") == pid


@root
def test_S03_an_operator_acts_and_does_nothing_of_an_admin(guarded: Daemon) -> None:
    ops = [*sorted(op for op in TABLE if OPS[op] is Role.ADMIN), "hold", "release", "reset", "ping"]
    replies = dict(zip(ops, map(code, asking(guarded, OPERATOR, CREW, *map(request, ops))), strict=True))
    assert {op for op, said in replies.items() if said == "ok"} == {"hold", "release", "reset", "ping"}
    assert {said for said in replies.values() if said != "ok"} == {"refused"}


@root
def test_S03_a_reader_reads(guarded: Daemon) -> None:
    ops = sorted(op for op in TABLE if OPS[op] is Role.READER)
    replies = asking(guarded, READER, READER, *map(request, ops))
    assert [op for op, reply in zip(ops, replies, strict=True) if "needs role" in str(reply)] == []
    assert [op for op, reply in zip(ops, replies, strict=True) if code(reply) == "refused"] == ["detach"]  # from what?
    assert sum(reply["ok"] for reply in replies) >= len(ops) - 2


@root
@pytest.mark.parametrize(
    ("uid", "gid", "groups", "role"),
    [
        (READER, READER, (), "read-only"),
        (MEMBER, STRANGERS, (GUESTS,), "read-only"),
        (MEMBER, CREW, (), "read-only"),
        (OPERATOR, STRANGERS, (), "operator"),
        (0, 0, (), "admin"),
    ],
)
def test_a_peer_is_told_its_role(guarded: Daemon, uid: int, gid: int, groups: tuple[int, ...], role: str) -> None:
    (reply,) = asking(guarded, uid, gid, {"op": "ping"}, groups=groups)
    assert reply["result"]["role"] == role


@root
def test_S01_another_user_is_refused_by_role_where_nothing_else_keeps_him_out(guarded: Daemon) -> None:
    ops = sorted(TABLE)
    replies = asking(guarded, STRANGER, STRANGERS, *map(request, ops))
    assert {op: code(reply) for op, reply in zip(ops, replies, strict=True)} == dict.fromkeys(ops, "refused")
    assert run(guarded, STRANGER, (STRANGERS,), guarded.places.events, "--topics", "state,event,beat").strip() == "[]"


@root
def test_a_reader_hears_what_is_published(guarded: Daemon) -> None:
    assert "beat" in run(guarded, READER, (READER,), guarded.places.events, "--topics", "beat,secret.,event")


@root
def test_a_refusal_names_role_operation_and_remedy(guarded: Daemon) -> None:
    (reply,) = asking(guarded, READER, READER, request("stop"))
    said = reply["error"]
    assert said["message"].startswith("`stop` needs role operator, and uid 65002 pid ")
    assert said["message"].endswith("has role read-only")
    assert "[taskmaster.access]" in said["help"]


@root
def test_S01_the_directory_and_the_sockets_keep_other_users_out(daemon: Start) -> None:
    d = daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\n')
    (d.dir / "run").chmod(0o711)
    for opened in ((), (d.places.rundir, os.path.dirname(d.places.rundir))):  # the socket's own mode is a second wall
        for path in opened:
            os.chmod(path, 0o777)
        try:
            with subprocess.Popen(
                [*program("asker.py", STRANGER, STRANGERS), d.places.commands, '{"op":"ping"}'],
                stdout=subprocess.PIPE, text=True, env=d.env,
            ) as asker:  # fmt: skip
                said, _ = asker.communicate(timeout=30)
        finally:
            for path in opened:
                os.chmod(path, 0o700)
        assert '"ok": null' in said or "Permission" in said or said == ""


def test_one_may_ask_to_be_held_to_read_only(daemon: Start) -> None:
    d = daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\n')
    d.wait_state("web:0", "running")
    asked: list[dict[str, Any]] = [
        {"op": "stop", "select": ["web"], "as": "read-only"},
        {"op": "ping", "as": "read-only"},
        {"op": "ping"},
    ]
    stop, held, plain = asking(d, os.getuid(), os.getgid(), *asked)
    assert (code(stop), held["result"]["role"], plain["result"]["role"]) == ("refused", "read-only", "admin")
    assert d.proc("web:0").state == "running"


def test_every_request_that_acts_and_every_refusal_is_written_down(daemon: Start) -> None:
    d = daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\n')
    d.wait_state("web:0", "running")
    d.request("restart", "web", timeout=20)
    asking(d, os.getuid(), os.getgid(), {"op": "stop", "select": ["web"], "as": "read-only"})
    d.request("status")
    asked, denied = d.wait_event("asked"), d.wait_event("denied")
    assert (asked.data["op"], asked.data["select"]) == ("restart", ["web"])
    assert (denied.data["op"], denied.data["role"]) == ("stop", "admin")
    assert asked.cause.who == f"uid {os.getuid()} pid {os.getpid()}"
    assert len(d.events("asked")) == 1, "looking is no act"
    log = d.statedir / "taskmaster.log"
    d.wait(lambda: "was refused" in log.read_text())
    assert f"INFO request: restart web (asked by uid {os.getuid()} pid {os.getpid()})" in log.read_text()
    assert f"WARNING uid {os.getuid()} pid " in log.read_text()


def test_many_refusals_are_summed_up(daemon: Start) -> None:
    d = daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\n')
    asking(d, os.getuid(), os.getgid(), *[{"op": "stop", "select": ["web"], "as": "read-only"}] * 50)
    d.wait(lambda: sum(each.data["times"] for each in d.events("denied")) == 50)
    assert len(d.events("denied")) <= 4


@root
def test_roles_change_with_a_reload_for_connections_that_are_there(guarded: Daemon) -> None:
    assert asking(guarded, 65_099, CREW, {"op": "ping"})[0]["result"]["role"] == "read-only"
    guarded.write_config(CONFIG.replace(f"[{OPERATOR}]", f"[{OPERATOR}, 65099]"))
    guarded.request("reload")
    assert asking(guarded, 65_099, CREW, {"op": "ping"})[0]["result"]["role"] == "operator"


@pytest.mark.parametrize(
    ("text", "code_"),
    [
        ('operators = ["nosuchuserhere"]', "E305"),
        ('readers = ["@nosuchgrouphere"]', "E305"),
        ("operators = [true]", "E201"),
        ('operators = "root"', "E201"),
        ('admins = ["root"]', "E101"),
        ('listen = "tcp://0.0.0.0"', "E203"),
        ('listen = "ipc:///tmp/x"', "E203"),
    ],
)
def test_a_mistake_in_the_lists_is_an_error_of_the_config(daemon_for: Start, text: str, code_: str) -> None:
    d = daemon_for(f"[taskmaster.access]\n{text}\n")
    said = d.cli("check", str(d.config_path), "--format", "json")
    assert [each["code"] for each in json.loads(said.stdout)["errors"]] == [code_]
