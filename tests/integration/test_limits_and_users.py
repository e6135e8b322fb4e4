"""Who a process is and what it may: users, limits, niceness; and that its secrets stay its own."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from taskmaster_core.wire import ProcessView
from tests.harness import Daemon
from tests.integration.conftest import Start
from tests.integration.shared import cmd, facts, job, read, running, words

WHO = cmd("whoami.py")
SLEEP = words("sleep", "1000")
NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0")

KERNEL = words("sh", "-c", "grep -E '^(Uid|Gid|Groups|CapEff):' /proc/self/status; env")
"""Who one is, said by programs that every user may run; the Python of the tests may lie in root's home."""

USERS = [
    job("nobody", KERNEL, uid='"nobody"'),
    job("number", KERNEL, uid="54321"),
    job("both", KERNEL, uid='"nobody"', gid='"daemon"'),
    job("group", KERNEL, gid="1"),
    job("makes", words("touch", "here/made"), uid='"nobody"', umask="0o022"),
    job("owns its log", words("echo", "mine"), uid='"nobody"', stdout='"here/owned.txt"', log='{owner = "job"}'),
    job("opens stdout", words("sh", "-c", "echo again > /dev/stdout"), uid='"nobody"'),
    job("shut out", words("true"), uid='"nobody"', workingdir='"closed"', retry="0"),
    job("cleared", KERNEL, uid='"nobody"', cleanenv="true", env='{HOME = "/else"}'),
]
LIMITS = [
    job("one value", SLEEP, limits="{nofile = 123, core = 0}"),
    job("two values", SLEEP, limits='{nofile = [50, 60], stack = ["1MiB", "unlimited"]}'),
    job("too much", cmd("grow.py"), limits="{fsize = 1000}", restart='"never"'),
    job("plain", WHO),
    job("below", WHO, nice="-3"),
    job("above", WHO, nice="7"),
]


@pytest.fixture(scope="module")
def it() -> Iterator[Daemon]:
    it = Daemon("\n".join([*USERS, *LIMITS]))
    (it.dir / "here").mkdir()
    (it.dir / "here").chmod(0o777)
    (it.dir / "closed").mkdir(mode=0o700)
    try:
        yield it.start()
    finally:
        problems = it.close()
    assert problems == []


# Users ---------------------------------------------------------------------------------------------------------------


def who(it: Daemon, name: str) -> dict[str, str]:
    """Return the kernel's lines about a process (uids, groups, …) and its variables, by name."""
    it.wait_state(f"{name}:0", "exited")
    lines = it.output(f"{name}:0").splitlines()
    told = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return told | dict(line.split("=", 1) for line in lines if "=" in line)


def ids(it: Daemon, name: str) -> tuple[set[int], set[int], list[int]]:
    """Return the uids and the gids of all four kinds, and the groups."""
    uids, gids, groups = ([int(word) for word in who(it, name)[kind].split()] for kind in ("Uid", "Gid", "Groups"))
    return set(uids), set(gids), groups


def test_S07_uid_is_dropped_to_in_every_kind_with_the_groups_of_the_user(it: Daemon) -> None:
    assert ids(it, "nobody") == ({NOBODY}, {NOBODY}, [NOBODY])


def test_S07_nothing_of_root_is_left(it: Daemon) -> None:
    assert int(who(it, "nobody")["CapEff"], 16) == 0


def test_S07_home_and_names_are_those_of_the_user(it: Daemon) -> None:
    env = who(it, "nobody")
    assert [env[name] for name in ("HOME", "USER", "LOGNAME")] == ["/nonexistent", "nobody", "nobody"]
    assert env["SHELL"].endswith("nologin")


def test_S07_the_config_wins_over_the_variables_of_the_user(it: Daemon) -> None:
    env = who(it, "cleared")
    assert (env["HOME"], env["USER"]) == ("/else", "nobody")


def test_a_number_without_a_name_has_its_own_group_alone(it: Daemon) -> None:
    assert ids(it, "number") == ({54321}, {54321}, [54321])


def test_gid_takes_the_place_of_the_users_group(it: Daemon) -> None:
    assert ids(it, "both") == ({NOBODY}, {1}, [1])


def test_gid_alone_leaves_the_user(it: Daemon) -> None:
    uids, gids, _ = ids(it, "group")
    assert (uids, gids) == ({0}, {1})


def test_what_it_makes_is_its_own(it: Daemon) -> None:
    it.wait_state("makes:0", "exited")
    made = (it.dir / "here" / "made").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (NOBODY, NOBODY, 0o644)


def test_log_owner_job_makes_the_file_with_the_rights_of_the_user(it: Daemon) -> None:
    it.wait_state("owns its log:0", "exited")
    path = it.dir / "here" / "owned.txt"
    assert (path.stat().st_uid, read(path)) == (NOBODY, "mine\n")


def test_G17_a_job_of_another_user_may_open_its_standard_output_again(it: Daemon) -> None:
    it.wait_state("opens stdout:0", "exited")
    assert it.output("opens stdout:0") == "again\n"


def test_L17_a_directory_closed_to_the_user_is_told_as_chdir(it: Daemon) -> None:
    end = it.wait_state("shut out:0", "fatal").exit
    assert end is not None
    assert end.error is not None
    assert (end.error.stage, end.error.errno) == ("chdir", "EACCES")


# Limits --------------------------------------------------------------------------------------------------------------


def limits(it: Daemon, name: str) -> dict[str, tuple[str, str]]:
    """Return soft and hard limit of a running process by the kernel's names."""
    pid = it.wait_state(f"{name}:0", "running").pid
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:].split()[0], line[26:].split()[1]) for line in lines}


def test_a_limit_of_one_value_is_soft_and_hard(it: Daemon) -> None:
    found = limits(it, "one value")
    assert (found["Max open files"], found["Max core file size"]) == (("123", "123"), ("0", "0"))


def test_a_limit_of_two_values_is_soft_then_hard(it: Daemon) -> None:
    found = limits(it, "two values")
    assert (found["Max open files"], found["Max stack size"]) == (("50", "60"), ("1048576", "unlimited"))


def test_a_limit_that_is_met_ends_the_process_by_its_signal(it: Daemon) -> None:
    end = it.wait_state("too much:0", "exited").exit
    assert end is not None
    assert end.signal == "SIGXFSZ"


def test_without_limits_a_process_has_those_the_daemon_was_started_with(it: Daemon) -> None:
    assert tuple(facts(it, "plain:0")["nofile"]) == resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.mark.parametrize(("name", "nice"), [("plain", 0), ("below", -3), ("above", 7)])
def test_nice_is_the_niceness(it: Daemon, name: str, nice: int) -> None:
    assert facts(it, f"{name}:0")["nice"] == nice


# Few descriptors -----------------------------------------------------------------------------------------------------


def start_below(it: Daemon, files: int) -> Daemon:
    """Start a daemon that may open so many files and no more."""
    command = ["prlimit", f"--nofile={files}:{files}", *it.command("core", "-f", str(it.config_path))]
    with it.stderr_path.open("ab") as err:
        it.process = subprocess.Popen(
            command, env=it.env, cwd=it.dir, stdin=subprocess.DEVNULL, stdout=err, stderr=err, start_new_session=True
        )
    it.wait(it.ping, 20, "the core answers")
    return it


def fds(pid: int) -> int:
    """Return how many descriptors a process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("files", [64, 256])
def test_R01_few_descriptors_are_told_as_such_and_control_goes_on(daemon_for: Start, files: int) -> None:
    many = job("many", SLEEP, numprocess=str(files), retry="0")
    it = start_below(daemon_for(many + job("other", SLEEP, autostart="false")), files)


    def failed() -> list[ProcessView]:
        return [view for view in it.procs("many") if view.exit and view.exit.error]

    it.wait(lambda: failed() and all(view.exit or view.pid for view in it.procs("many")), 20, "all were tried")
    assert {view.exit.error.errno for view in failed() if view.exit and view.exit.error} == {"EMFILE"}
    assert not [view.key for view in it.procs("many") if view.state == "fatal"], "they are tried again until there are"
    assert "cannot be started now" in it.cli("status").stderr
    assert it.cli("stop", "many").returncode == 0
    it.wait(lambda: not it.status()["core"]["troubles"], 15, "nobody wants to start any more")
    before = fds(it.shim_pid)
    it.request("start", "other")
    it.request("stop", "other")
    assert fds(it.shim_pid) <= before, "the failures kept nothing open"


# Secrets -------------------------------------------------------------------------------------------------------------

MARK = "S3CR3T-b7f1"
READING = ("ping", "status", "show", "why", "config", "generations", "events", "logs", "doctor")
SECRETS = {"PASSWORD": f"{MARK}-p", "COLOUR": f"{MARK}-c"}


def with_secrets(version: str) -> str:
    """Return a config whose variables hold the mark, each in another way."""
    own = "{" + ", ".join(f'{name} = "{value}-{version}"' for name, value in SECRETS.items()) + "}"
    jobs = [
        job("web", SLEEP, env=own, envfile='"vars.env"'),
        job("broken", words("/no/such"), env=own, retry="0"),
        job("talker", words("sh", "-c", f"API_TOKEN={MARK}-a-{version} exec sleep 1000", f"--password={MARK}-b")),
        job("caller", words("sleep", "1000", "--secret", f"{MARK}-d-{version}"), numprocess="0"),
    ]
    return f'[env]\nSHARED_TOKEN = "{MARK}-t-{version}"\n' + "\n".join(jobs)


def frames_of(it: Daemon, during: Any) -> bytes:
    """Return everything the core publishes while something is done."""
    with zmq.Context() as context, context.socket(zmq.SUB) as heard:
        heard.subscribe(b"")
        heard.connect(f"ipc://{it.places.events}")
        it.wait(lambda: heard.poll(0) != 0, 10, "the first beat is heard")
        during()
        found = b""
        while heard.poll(300):
            found += b"".join(heard.recv_multipart())
        return found


def state_files(it: Daemon) -> dict[str, bytes]:
    """Return what is in the state directory, but for the generations, which are the config itself."""
    found = {}
    for path in sorted(it.statedir.rglob("*")):
        if path.is_file() and "generations" not in path.parts:
            found[str(path)] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def guarded() -> Iterator[Daemon]:
    files = {"vars.env": f"FROM_FILE={MARK}-f\n"}
    with running(with_secrets("1") + '[taskmaster]\nloglevel = "debug"\n', files=files) as it:
        it.wait_state("web:0", "running")
        it.wait_state("broken:0", "fatal")
        yield it


def test_S04_the_process_itself_has_its_secrets(guarded: Daemon) -> None:
    pid = guarded.proc("web:0").pid
    assert Path(f"/proc/{pid}/environ").read_bytes().count(MARK.encode()) == 4


@pytest.mark.parametrize("op", READING)
def test_S04_no_reply_of_a_reading_operation_tells_a_value(guarded: Daemon, op: str) -> None:
    reply, raw = guarded.request_raw(op)
    assert MARK not in repr(reply)
    assert MARK.encode() not in raw


@pytest.mark.parametrize(
    "command", ["status --json", "show web", "show web --json", "why all", "config show", "events", "logs", "doctor"]
)
def test_S04_no_command_tells_a_value(guarded: Daemon, command: str) -> None:
    told = guarded.cli(*command.split())
    assert MARK not in told.stdout + told.stderr


def test_S04_neither_plan_nor_reload_nor_an_event_tells_a_value(guarded: Daemon) -> None:
    told: list[str] = []

    def change() -> None:
        guarded.write_config(with_secrets("2") + '[taskmaster]\nloglevel = "debug"\nautoreload = "off"\n')
        told.append(repr(guarded.request("reload", plan=True)))
        told.append(guarded.cli("reload").stdout)
        guarded.request("restart", "web")

    heard = frames_of(guarded, change)
    assert "web" in told[0]
    assert MARK not in "".join(told)
    assert b"stopping" in heard
    assert MARK.encode() not in heard


def test_S04_a_config_error_beside_a_value_is_told_without_it(guarded: Daemon) -> None:
    good = guarded.config_path.read_text()
    guarded.write_config(good + job("more", SLEEP, env=f'{{TOKEN = "{MARK}", WRONG = 3}}'))
    told = guarded.cli("reload")
    assert told.returncode == 6
    assert "WRONG" in told.stderr + told.stdout
    shown = repr(guarded.status()) + guarded.cli("status").stdout + repr(guarded.events("config_error"))
    guarded.write_config(good)
    assert "WRONG" in shown
    assert MARK not in shown


def test_S04_no_file_of_the_state_directory_holds_a_value(guarded: Daemon) -> None:
    found = state_files(guarded)
    assert any(name.endswith("journal.db") for name in found)
    assert [name for name, data in found.items() if MARK.encode() in data] == []


def test_S04_the_generations_are_closed_to_others(guarded: Daemon) -> None:
    kept = [path for path in Path(guarded.places.generations).rglob("*") if path.is_file()]
    assert any(MARK.encode() in path.read_bytes() for path in kept), "they are the config itself"
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_S04_what_the_daemon_says_has_no_value(guarded: Daemon) -> None:
    assert MARK not in guarded.stderr(10**7)
