"""What others on the machine may try with a real daemon besides asking it: start another, lead it astray, read it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core import wire
from taskmaster_core.errors import TaskmasterError
from tests.harness import ROOT, Daemon, environ_of, program
from tests.integration.conftest import Start

WEB = '[[task]]\nname = "web"\ncmd = "sleep 1000"\n'
STRANGER = 65534

unprivileged = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv, to become somebody else"
)


def as_stranger(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as another user, who may read what the interpreter needs wherever it lies."""
    caps = "-all,+dac_read_search"
    command = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", f"--inh-caps={caps}"]
    command += [f"--ambient-caps={caps}", f"--bounding-set={caps}", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, **more)


@pytest.fixture(scope="module")
def core() -> Iterator[Daemon]:
    d = Daemon(WEB).start()
    d.wait_state("web:0", "running")
    yield d
    assert d.close() == []


def held_by(pid: int) -> set[str]:
    """Return what the descriptors of a process are."""
    return {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd") if os.path.lexists(entry.path)}


# Another core --------------------------------------------------------------------------------------------------------


def test_L05_a_core_started_by_hand_commands_nothing(core: Daemon) -> None:
    """A core that no shim has started ends at once; one with a wire of its own has no shim at the other end."""
    before = core.core_pid, core.pids()
    command = [sys.executable, "-m", "taskmaster_core.daemon", "-f", str(core.config_path), "--instance", core.instance]
    alone = subprocess.run(command, env=core.env, capture_output=True, text=True, timeout=30, check=False)
    assert (alone.returncode, "started by the shim" in alone.stderr) == (2, True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        env = {**core.env, "TASKMASTER_LINK_FD": str(theirs.fileno())}
        with subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL) as second:
            theirs.close()
            assert ours.recv(100), "it asks whoever made its wire, and nobody else"
            ours.close()
            assert second.wait(30) != 0
    assert (core.core_pid, core.pids()) == before


def test_L05_the_shim_listens_to_nobody_but_its_core(core: Daemon) -> None:
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    assert held_by(core.shim_pid).isdisjoint(f"socket:[{row[6]}]" for row in rows if row[3] == "00010000")
    assert sorted(os.listdir(core.places.rundir)) == ["cmd.sock", "evt.sock"]


def test_P09_a_request_sent_again_over_another_connection_has_one_effect_and_the_same_answer(core: Daemon) -> None:
    run = core.proc("web:0").run
    document = wire.encode(wire.Request(wire.VERSION, uuid.uuid4().hex, "restart", ["web"]))
    answers = [core._exchange(document, 15) for _ in range(3)]
    assert answers[0] is not None
    assert answers[1:] == [answers[0]] * 2
    assert core.proc("web:0").run == run + 1


# Names and paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../x", "..", ".", "a/b", "/etc/x", "-rf", "a:b", "x\\u0000y", "%(x)/../y"])
def test_S05_a_name_that_leads_elsewhere_is_refused(core: Daemon, name: str) -> None:
    bad = core.dir / "bad.toml"
    bad.write_text(f'[[task]]\nname = "{name}"\ncmd = "true"\n')
    assert core.cli("check", str(bad)).returncode == 6


def test_S05_an_instance_that_leads_elsewhere_is_refused(core: Daemon) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskmaster_core", "--instance", "../../x", "status"],
        env=core.env, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, "not an instance name" in done.stderr) == (2, True)


def test_S05_whatever_a_job_is_called_its_files_stay_in_their_directory(daemon: Start) -> None:
    names = ["%2e%2e", "write bar", "~root", "$HOME", "{name}{name}", "é" * 30, "a..b"]
    tasks = (f'[[task]]\nname = {json.dumps(name)}\ncmd = "echo x"\nrestart = "never"\n' for name in names)
    d = daemon("".join(tasks))
    before = {str(path) for path in d.dir.rglob("*") if not path.is_relative_to(d.statedir)}
    d.wait(lambda: all(each.state == "exited" for each in d.procs()))
    assert len(list((d.statedir / "logs").glob("*/0.out"))) == len(names)
    assert {str(path) for path in d.dir.rglob("*") if not path.is_relative_to(d.statedir)} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a job as somebody else")
def test_S08_a_job_cannot_forge_the_record_by_which_the_next_shim_knows_it(daemon: Start, tmp_path: Path) -> None:
    """The lock that a job holds is for reading: what stands in it names who is signalled, and where output goes."""
    own, script = json.dumps(list(program("forger.py"))), tmp_path / "forge.sh"
    script.write_text("""n=$(ls /proc/$$/fd | sort -n | tail -1)
        (echo forged > /proc/$$/fd/$n) 2>/dev/null && echo DONE || echo refused
        grep flags /proc/$$/fdinfo/$n
        exec sleep 1000""")
    theirs = json.dumps(["sh", "-c", script.read_text()])
    d = daemon(f'[[task]]\nname = "web"\ncmd = {theirs}\nuid = {STRANGER}\n[[task]]\nname = "own"\ncmd = {own}\n')
    d.wait(lambda: "flags" in d.output("web:0") and "mode" in d.output("own:0"))
    said = d.output("web:0").split()
    assert (said[0], int(said[2], 8) & os.O_ACCMODE) == ("refused", os.O_RDONLY)
    assert d.output("own:0").split("\n")[:2] == ["write refused", "cut refused"]
    pids = d.pids("web")
    d.kill_shim()
    assert d.pids("web") == pids


@unprivileged
def test_S11_another_users_id_in_a_config_needs_root(tmp_path: Path) -> None:
    (file := tmp_path / "taskmaster.toml").write_text('[[task]]\nname = "web"\ncmd = "true"\nuid = 0\n')
    command = [sys.executable, "-m", "taskmaster_core", "check", str(file), "--format", "json"]
    done = as_stranger(*command, cwd=ROOT, env={**os.environ, "HOME": "/nonexistent"})
    assert [each["code"] for each in json.loads(done.stdout)["errors"]] == ["E306"]
    assert done.returncode == 6


@pytest.mark.parametrize("mask", [0, 0o777])
def test_S12_whatever_the_umask_nobody_else_may_read_or_write(daemon_for: Start, mask: int) -> None:
    d = daemon_for(WEB.replace("sleep 1000", "sh -c 'echo x; exec sleep 1000'"))
    before = os.umask(mask)
    try:
        d.start(wait=False)
    finally:
        os.umask(before)
    d.wait(d.ping)
    d.wait_state("web:0", "running")
    d.wait(lambda: d.output("web:0"))
    places = [Path(d.places.rundir), d.statedir]
    found = {path: path.lstat().st_mode for place in places for path in (place, *place.rglob("*"))}
    assert {str(path): oct(mode) for path, mode in found.items() if mode & 0o027} == {}
    assert {stat.S_IMODE(mode) for mode in found.values() if stat.S_ISSOCK(mode)} == {0o600}


# Pages, pids and claims ----------------------------------------------------------------------------------------------


def test_S14_a_browser_is_cut_off_and_no_port_is_open(core: Daemon) -> None:
    for path in (core.places.commands, core.places.events):
        with socket.socket(socket.AF_UNIX) as browser:
            browser.settimeout(10)
            browser.connect(path)
            browser.sendall(b"POST / HTTP/1.1\r\nHost: evil\r\nOrigin: http://evil\r\nContent-Length: 0\r\n\r\n")
            said = b"".join(iter(lambda: browser.recv(4096), b""))
            assert b"HTTP" not in said
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}
    for pid in (core.core_pid, core.shim_pid):
        assert held_by(pid).isdisjoint(listening)


def test_S18_a_request_names_processes_and_never_pids(core: Daemon) -> None:
    with subprocess.Popen(["sleep", "1000"]) as victim:
        pid = victim.pid
        for select in ([str(pid)], [f"pid:{pid}"], [f"web:{pid}"], ["web:-1"], [f"{pid}:0"]):
            for op in ("signal", "kill", "stop"):
                with pytest.raises(TaskmasterError) as refused:
                    core.request(op, *select, signal="KILL")
                assert refused.value.code == "no_such_job"
        core.request("signal", "web", signal="CONT", pid=pid, pids=[pid], uid=0)
        with pytest.raises(TaskmasterError):
            core.request("exec", cmd=["true"], pid=pid)
        assert victim.poll() is None
        victim.kill()
    asked = re.compile(r"""arg\(asked, "(pid|pids|pgid|fd|cmd|command|env)\"""")
    sources = (ROOT / "taskmaster_core").glob("*.py")
    assert [path.name for path in sources if asked.search(path.read_text())] == []


def test_S19_the_socket_for_readiness_is_the_shims_alone(daemon_for: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        d = daemon_for(WEB, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}).start()
        d.wait_state("web:0", "running")
        assert b"READY=1" in systemd.recv(4096)
        for pid in (d.core_pid, d.pids()["web:0"] or 0):
            assert [each for each in environ_of(pid) if each.startswith(b"NOTIFY_SOCKET")] == []


def test_S19_readiness_by_notify_is_an_error_and_not_believed(core: Daemon) -> None:
    bad = core.dir / "bad.toml"
    bad.write_text(f"{WEB}[task.ready]\nnotify = true\n")
    assert core.cli("check", str(bad)).returncode == 6


# What the core knows -------------------------------------------------------------------------------------------------


@unprivileged
@pytest.mark.parametrize(("traceable", "owner", "opened"), [("0", 0, False), ("1", STRANGER, True)])
def test_S17_nobody_but_root_may_trace_or_dump_the_core(traceable: str, owner: int, opened: bool) -> None:
    """Others of the core's own user cannot look into it, and it works all the same; a variable lets them."""
    done = as_stranger(sys.executable, "-B", *program("unprivileged.py", traceable)[1:], cwd="/")
    said = json.loads(done.stdout or done.stderr)
    assert said["core"] == {"owner": owner, "environ": opened}
    assert said["job"]["owner"] == STRANGER, "what it starts is not touched by it"
    assert (said["doctor"], said["rss"], said["recovered"], said["left"]) == (True, True, True, [])


@pytest.mark.parametrize("op", ["logs", "find"])
def test_S16_an_expression_that_never_ends_is_ended(daemon: Start, op: str) -> None:
    d = daemon(f"[[task]]\nname = \"web\"\ncmd = \"sh -c 'echo {'a' * 60}!; exec sleep 1000'\"\n")
    d.wait(lambda: d.output("web:0"))
    pid, began = d.core_pid, time.monotonic()
    with pytest.raises(TaskmasterError) as refused:
        d.request(op, "web", pattern="^(a|a)*(a|aa)+$", timeout=20)
    assert refused.value.code == "refused"
    assert (d.core_pid, time.monotonic() - began < 15) == (pid, True)
