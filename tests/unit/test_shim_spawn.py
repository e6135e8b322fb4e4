"""Starts, exits and exec failures of the real shim, told exactly (RELIABILITY L12 to L17, S07 to S10, R01)."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.shim_harness import Core, Report, Shim, alive, output, program, sink, spawn_order, wait_for

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = 65534


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    shim = Shim(tmp_path)
    yield shim
    shim.close()


@pytest.fixture
def core(shim: Shim) -> Core:
    return shim.open()


def run_to_end(shim: Shim, core: Core, argv: list[str], run: int = 1, **fields: Any) -> Report:
    core.order(spawn_order(shim, argv, run=run, **fields))
    return core.expect("exited", run=run)


def failure(shim: Shim, core: Core, argv: list[str], run: int = 1, **fields: Any) -> Report:
    core.order(spawn_order(shim, argv, run=run, **fields))
    return core.expect("failed", run=run)


def whoami(shim: Shim, core: Core, **fields: Any) -> dict[str, Any]:
    report = run_to_end(shim, core, program("whoami"), **fields)
    assert report.get("code") == 0, output(shim, "job/0.err")
    facts: dict[str, Any] = json.loads(output(shim).splitlines()[-1])
    return facts


def script(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


# -- exits --------------------------------------------------------------------------------------------------------


def test_L12_a_thousand_short_lives_are_each_told_spawned_then_exited(shim: Shim, core: Core) -> None:
    null = {"kind": "null"}
    for batch in range(0, 300, 50):
        core.order(*(spawn_order(shim, ["/bin/true"], f"t:{n}", out=null, err=null) for n in range(batch, batch + 50)))
        for n in range(batch, batch + 50):
            assert core.expect("exited", key=f"t:{n}")["code"] == 0
    stories: dict[str, list[str]] = {}
    for report in core.reports:
        if "key" in report:
            stories.setdefault(report["key"], []).append(report["t"])
    assert set(map(tuple, stories.values())) == {("spawned", "exited")}
    assert len(stories) == 300


def test_L13_every_exit_code_is_told_exactly(shim: Shim, core: Core) -> None:
    null = {"kind": "null"}
    core.order(
        *(spawn_order(shim, ["/bin/sh", "-c", f"exit {code}"], f"e:{code}", out=null, err=null) for code in range(256))
    )
    told = {code: core.expect("exited", key=f"e:{code}") for code in range(256)}
    assert {code: report.get("code") for code, report in told.items()} == {code: code for code in range(256)}
    assert not any("signal" in report for report in told.values())


def test_L14_death_by_each_signal_is_told_as_that_signal(shim: Shim, core: Core) -> None:
    harmless = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    stopping = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    deadly = [signum for signum in (*range(1, 32), 34, 64) if signum not in harmless | stopping]
    core.order(*(spawn_order(shim, program("signal_self", signum), f"s:{signum}") for signum in deadly))
    for signum in deadly:
        report = core.expect("exited", key=f"s:{signum}")
        assert (report.get("signal"), report.get("code"), report["core"]) == (signum, None, False)


def test_L14_a_core_dump_is_told(shim: Shim, core: Core) -> None:
    if not Path("/proc/sys/kernel/core_pattern").read_text().startswith(("core", "|")):
        pytest.skip("core dumps go somewhere else here")
    limits = [["core", 1 << 24, 1 << 24]]
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("core dumps are limited here")
    report = run_to_end(shim, core, program("signal_self", int(signal.SIGQUIT), "dump"), limits=limits)
    assert (report["signal"], report["core"]) == (signal.SIGQUIT, True)


def test_L15_exit_127_of_a_program_is_an_exit_and_a_missing_program_is_a_failure(shim: Shim, core: Core) -> None:
    assert run_to_end(shim, core, ["sh", "-c", "exit 127"])["code"] == 127
    report = failure(shim, core, ["/no/such/program"], run=2)
    assert (report["stage"], report["errno"]) == ("exec", "ENOENT")
    assert report["message"] == "No such file or directory: '/no/such/program'"
    assert core.all("spawned", run=2) == []


# -- exec failures ------------------------------------------------------------------------------------------------

EXEC_FAILURES = {
    "missing": (lambda d: [str(d / "nothing")], "ENOENT", "No such file"),
    "not_in_path": (lambda d: ["surely-no-such-program"], "ENOENT", "PATH of the job"),
    "not_executable": (lambda d: [script(d / "plain", "hi", 0o644)], "EACCES", "chmod +x"),
    "a_directory": (lambda d: [str(d)], "EACCES", "is a directory"),
    "missing_interpreter": (lambda d: [script(d / "s", "#!/no/such/int -x\n")], "ENOENT", "/no/such/int"),
    "windows_line_end": (lambda d: [script(d / "s", "#!/bin/sh\r\nexit 0\r\n")], "ENOENT", "carriage return"),
    "interpreter_not_executable": (
        lambda d: [script(d / "s", f"#!{script(d / 'i', '', 0o644)}\n")],
        "EACCES",
        "may not be run",
    ),
    "no_first_line": (lambda d: [script(d / "s", "echo hi\n")], "ENOEXEC", "shell = true"),
    "empty_file": (lambda d: [script(d / "s", "")], "ENOEXEC", "is empty"),
    "wrong_machine": (lambda d: [script(d / "s", "\x7fELF\x02\x01\x01")], "ENOEXEC", "another kind of machine"),
    "too_long": (lambda d: ["/bin/true", "x" * 200_000], "E2BIG", "too long"),
    "nul_in_argv": (lambda d: ["/bin/true", "a\0b"], "EINVAL", "null"),
    "empty_argv": (lambda d: [], "ENOENT", ""),
    "empty_name": (lambda d: [""], "ENOENT", ""),
    "file_as_directory": (lambda d: [script(d / "s", "") + "/x"], "ENOTDIR", "Not a directory"),
    "dangling_link": (lambda d: [_dangling(d)], "ENOENT", "symbolic link"),
}


def _dangling(directory: Path) -> str:
    (directory / "link").symlink_to("/no/such/target")
    return str(directory / "link")


@pytest.mark.parametrize("case", EXEC_FAILURES)
def test_L16_a_program_that_cannot_be_run_is_told_with_stage_errno_and_sentence(
    shim: Shim, core: Core, tmp_path: Path, case: str
) -> None:
    make, name, words = EXEC_FAILURES[case]
    report = failure(shim, core, make(tmp_path))
    assert (report["stage"], report["errno"]) == ("exec", name)
    assert words in report["message"]
    assert not list((shim.state / "runs").iterdir())


def test_L16_a_found_but_forbidden_program_in_the_path_is_told_as_forbidden(
    shim: Shim, core: Core, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin" / "tool", "#!/bin/sh\n", 0o644)
    report = failure(shim, core, ["tool"], env={"PATH": f"/nowhere:{tmp_path}/bin"})
    assert (report["stage"], report["errno"]) == ("exec", "EACCES")
    assert f"{tmp_path}/bin/tool" in report["message"]


def test_L16_the_path_of_the_job_is_searched_not_ours(shim: Shim, core: Core, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin" / "my-tool", "#!/bin/sh\nexit 7\n")
    assert run_to_end(shim, core, ["my-tool"], env={"PATH": f"/nowhere:{tmp_path}/bin"})["code"] == 7


def test_L16_a_program_that_is_just_being_written_is_tried_again(shim: Shim, core: Core, tmp_path: Path) -> None:
    target = tmp_path / "busy"
    target.write_bytes(Path("/bin/true").read_bytes())
    target.chmod(0o755)
    writer = os.open(target, os.O_WRONLY)
    threading.Timer(0.08, os.close, [writer]).start()
    assert run_to_end(shim, core, [str(target)])["code"] == 0


def test_L16_a_program_that_stays_open_for_writing_is_told(shim: Shim, core: Core, tmp_path: Path) -> None:
    target = tmp_path / "busy"
    target.write_bytes(Path("/bin/true").read_bytes())
    target.chmod(0o755)
    with target.open("ab"):
        report = failure(shim, core, [str(target)])
    assert (report["stage"], report["errno"]) == ("exec", "ETXTBSY")


# -- set-up failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cwd", "name"), [("{d}/none", "ENOENT"), ("{d}/file", "ENOTDIR"), ("{d}/a\0b", "EINVAL")], ids=str
)
def test_L17_a_bad_directory_is_told_as_chdir(shim: Shim, core: Core, tmp_path: Path, cwd: str, name: str) -> None:
    (tmp_path / "file").touch()
    report = failure(shim, core, ["/bin/true"], cwd=cwd.format(d=tmp_path))
    assert (report["stage"], report["errno"]) == ("chdir", name)


@ROOT_ONLY
def test_L17_a_directory_closed_to_the_user_of_the_job_is_told_as_chdir(shim: Shim, core: Core, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    report = failure(shim, core, ["/bin/true"], cwd=str(closed), uid=NOBODY, gid=NOBODY, groups=[])
    assert (report["stage"], report["errno"]) == ("chdir", "EACCES")


def test_L17_a_directory_deleted_while_running_disturbs_only_the_next_start(
    shim: Shim, core: Core, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    core.order(spawn_order(shim, program("sleeper"), cwd=str(tmp_path / "d")))
    pid = core.expect("spawned")["pid"]
    wait_for(lambda: output(shim) == b"ready\n")
    (tmp_path / "d").rmdir()
    assert alive(pid)
    core.order({"t": "kill", "key": "job:0", "run": 1, "tree": True})
    core.expect("exited")
    assert failure(shim, core, ["/bin/true"], run=2, cwd=str(tmp_path / "d"))["stage"] == "chdir"


SETUP_FAILURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "limit_unknown": ({"limits": [["nosuch", 1, 1]]}, "limits", "EINVAL"),
    "limit_soft_above_hard": ({"limits": [["nofile", 20, 10]]}, "limits", "EINVAL"),
    "limit_above_all": ({"limits": [["nofile", 1 << 40, 1 << 40]]}, "limits", "EPERM"),
    "stdin_missing": ({"stdin": "/no/such/file"}, "stdin", "ENOENT"),
    "stdin_directory": ({"stdin": "/"}, "stdin", "EISDIR"),
    "env_with_nul": ({"env": {"A": "x\0y"}}, "exec", "EINVAL"),
    "env_bad_name": ({"env": {"A=B": "x"}}, "exec", "EINVAL"),
}


@pytest.mark.parametrize("case", SETUP_FAILURES)
def test_a_setup_that_fails_is_told_with_its_stage(shim: Shim, core: Core, case: str) -> None:
    fields, stage, name = SETUP_FAILURES[case]
    report = failure(shim, core, ["/bin/true"], **fields)
    assert (report["stage"], report["errno"]) == (stage, name)


def test_a_failure_leaves_room_for_the_next_try_at_once(shim: Shim, core: Core) -> None:
    for run in range(1, 6):
        failure(shim, core, ["/no/such"], run=run)
    assert run_to_end(shim, core, ["/bin/true"], run=6)["code"] == 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_L19_a_fork_that_fails_is_told_and_disturbs_nobody(shim: Shim, core: Core, tmp_path: Path) -> None:
    core.order(spawn_order(shim, ["sleep", "600"], "other:0"))
    other = core.expect("spawned")["pid"]
    before = open_fds(shim.pid)
    argv = ["strace", "-o", str(tmp_path / "trace"), "-e", "trace=clone,clone3,fork,vfork"]
    argv += ["-e", "inject=clone,clone3,fork,vfork:error=EAGAIN", "-p", str(shim.pid)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as tracer:
        try:
            assert tracer.stderr is not None
            if b"attached" not in tracer.stderr.readline():
                pytest.skip("strace may not attach here")
            report = failure(shim, core, ["true"])
        finally:
            tracer.send_signal(signal.SIGINT)
    assert (report["stage"], report["errno"]) == ("fork", "EAGAIN")
    assert run_to_end(shim, core, ["true"], run=2)["code"] == 0
    assert alive(other)
    wait_for(lambda: open_fds(shim.pid) <= before)


# -- what a job gets ----------------------------------------------------------------------------------------------


def test_a_job_gets_its_own_session_directory_umask_and_exactly_its_environment(
    shim: Shim, core: Core, tmp_path: Path
) -> None:
    env = {"A": "1", "B": "zwei", "TM_MARK": str(tmp_path)}
    facts = whoami(shim, core, env=env, umask=0o027, cwd=str(tmp_path))
    assert facts["sid"] == facts["pgid"] == facts["pid"]
    assert facts["ppid"] == shim.pid
    assert (facts["cwd"], facts["umask"]) == (str(tmp_path), 0o027)
    assert {name: value for name, value in facts["env"].items() if name != "LC_CTYPE"} == env


def test_bytes_that_are_no_utf8_reach_the_job(shim: Shim, core: Core) -> None:
    odd = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert run_to_end(shim, core, ["printf", "%s", odd])["code"] == 0
    assert output(shim) == b"\xff\xfe"


def test_umask_niceness_and_limits_are_inherited_or_set(tmp_path: Path) -> None:
    old = os.umask(0o037)
    try:
        shim = Shim(tmp_path)
    finally:
        os.umask(old)
    try:
        core = shim.open()
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        facts = whoami(shim, core)
        assert (facts["umask"], facts["nice"], facts["nofile"][0]) == (0o037, os.nice(0), soft)
        facts = whoami(shim, core, run=2, umask=0o777, nice=os.nice(0) + 3, limits=[["nofile", 77, 99], ["core", 0, 0]])
        assert (facts["umask"], facts["nice"]) == (0o777, os.nice(0) + 3)
        assert (facts["nofile"], facts["core"]) == ([77, 99], [0, 0])
        assert facts["oom"] == Path("/proc/self/oom_score_adj").read_text().strip()
    finally:
        shim.close()


def test_the_input_file_is_the_standard_input(shim: Shim, core: Core, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the file\n")
    run_to_end(shim, core, ["cat"], stdin=str(tmp_path / "in"))
    assert output(shim) == b"from the file\n"


@ROOT_ONLY
def test_S07_a_job_of_another_user_has_nothing_of_root(shim: Shim, core: Core, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    argv = ["/bin/sh", "-c", "cat /proc/self/status; id -G; (setpriv --reuid 0 true) 2>/dev/null && echo root"]
    report = run_to_end(shim, core, argv, uid=NOBODY, gid=NOBODY, groups=[NOBODY, 4242], cwd="/")
    assert "code" in report
    text = output(shim).decode()
    status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert status["Gid"].split() == [str(NOBODY)] * 4
    assert sorted(status["Groups"].split()) == sorted([str(NOBODY), "4242"])
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert "root" not in text.splitlines()


@ROOT_ONLY
def test_G17_a_job_of_another_user_may_open_its_standard_output_again(shim: Shim, core: Core) -> None:
    order: dict[str, Any] = {"uid": NOBODY, "gid": NOBODY, "groups": [], "cwd": "/"}
    report = run_to_end(shim, core, ["/bin/sh", "-c", "echo again > /dev/stdout && echo err > /dev/stderr"], **order)
    assert report["code"] == 0
    assert (output(shim), output(shim, "job/0.err")) == (b"again\n", b"err\n")


def test_S08_a_job_holds_only_its_standard_descriptors_and_its_lock(shim: Shim, core: Core) -> None:
    core.order(*(spawn_order(shim, program("sleeper"), f"other:{n}") for n in range(5)))
    facts = whoami(shim, core)
    held = {int(number): target for number, target in facts["fds"].items() if "/proc/" not in target}
    assert set(held) == {0, 1, 2, 100}
    assert held[100].endswith("/runs/job%3A0.lock")
    assert held[0] == "/dev/null"


def test_S08_what_the_shim_inherited_is_not_passed_on(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    shim = Shim(tmp_path, pass_fds=[write])
    try:
        facts = whoami(shim, shim.open())
        assert {int(n) for n, target in facts["fds"].items() if "/proc/" not in target} == {0, 1, 2, 100}
    finally:
        shim.close()
        os.close(read)
        os.close(write)


def test_S09_no_signal_is_blocked_or_ignored_in_a_job(tmp_path: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    shim = Shim(tmp_path, preexec_fn=ignore)
    try:
        core = shim.open()
        run_to_end(shim, core, ["cat", "/proc/self/status"])
        status = dict(line.split(":\t", 1) for line in output(shim).decode().splitlines() if ":\t" in line)
        assert {int(status[name], 16) for name in ("SigBlk", "SigIgn", "SigPnd")} == {0}
    finally:
        shim.close()


def test_S10_what_systemd_gave_to_the_shim_reaches_nobody_else(tmp_path: Path) -> None:
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "INVOCATION_ID", "JOURNAL_STREAM")
    shim = Shim(tmp_path, env=dict.fromkeys(names, "0"))
    try:
        core = shim.open()
        environ = Path(f"/proc/{core.pid}/environ").read_bytes()
        assert not [name for name in names if name.encode() in environ]
    finally:
        shim.close()


# -- idempotency and locks ----------------------------------------------------------------------------------------


def test_the_same_run_ordered_twice_starts_once_and_is_answered_twice(shim: Shim, core: Core) -> None:
    order = spawn_order(shim, program("sleeper"))
    core.order(order)
    first = core.expect("spawned")
    core.order(order)
    again = wait_for(lambda: core.all("spawned")[1:])[0]
    assert again == first
    core.order({"t": "kill", "key": "job:0", "run": 1, "tree": True})
    core.expect("exited")
    core.order(order)
    wait_for(lambda: len(core.all("exited")) == 2)
    assert len({report["pid"] for report in core.all("spawned")}) == 1


def test_another_run_beside_a_living_one_is_refused(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("sleeper")))
    pid = core.expect("spawned")["pid"]
    report = failure(shim, core, ["/bin/true"], run=2)
    assert report["stage"] == "lock"
    assert f"pid {pid}" in report["message"]
    assert alive(pid)


def test_the_lock_file_names_the_process_while_it_runs_and_is_gone_after(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("sleeper"), "a b/c:0"))
    pid = core.expect("spawned")["pid"]
    lock = shim.state / "runs" / "a%20b%2Fc%3A0.lock"
    words = lock.read_text().split(" ", 4)
    assert (words[0], words[3]) == (str(pid), "1")
    core.order({"t": "kill", "key": "a b/c:0", "run": 1, "tree": True})
    core.expect("exited")
    assert not lock.exists()


def test_a_key_too_long_for_a_file_name_works(shim: Shim, core: Core) -> None:
    report = None
    for index in range(2):
        key = f"{'ж' * 64}:{index}"
        core.order(spawn_order(shim, ["/bin/true"], key, out={"kind": "null"}, err={"kind": "null"}))
        report = core.expect("exited", key=key)
    assert report is not None
    assert report["code"] == 0


# -- resources ----------------------------------------------------------------------------------------------------


def first_of(core: Core, key: str) -> Report:
    report: Report = wait_for(lambda: core.all("failed", key=key) + core.all("spawned", key=key))[0]
    return report


def open_fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("limit", [64, 256])
def test_R01_few_descriptors_end_in_clean_failures_and_nothing_leaks(tmp_path: Path, limit: int) -> None:
    shim = Shim(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    try:
        core = shim.open()
        before = open_fds(shim.pid)
        count = limit // 2
        core.order(*(spawn_order(shim, ["sleep", "600"], f"r:{n}") for n in range(count)))
        wait_for(lambda: len(core.all("spawned")) + len(core.all("failed")) == count)
        failed = core.all("failed")
        assert failed
        assert {(report["stage"], report["errno"]) for report in failed} <= {("lock", "EMFILE"), ("fifo", "EMFILE")}
        born = [report["key"] for report in core.all("spawned")]
        assert len(born) >= limit // 8
        for key in (f"r:{n}" for n in range(count, 2 * count)):  # with the pipes of the storm closed a few more fit
            core.order(spawn_order(shim, ["sleep", "600"], key))
            if first_of(core, key)["t"] == "failed":
                break
        full = open_fds(shim.pid)
        for run in range(2, 7):
            assert failure(shim, core, ["sleep", "600"], run=run)["errno"] == "EMFILE"
        assert open_fds(shim.pid) == full
        born = [report["key"] for report in core.all("spawned")]
        core.order(*({"t": "kill", "key": key, "run": 1, "tree": True} for key in born))
        wait_for(lambda: len(core.all("exited")) == len(born))
        wait_for(lambda: open_fds(shim.pid) <= before)
    finally:
        shim.close()


def test_R02_many_short_runs_leave_no_descriptor_and_no_memory(shim: Shim, core: Core) -> None:
    def cycle(first: int, count: int) -> None:
        for run in range(first, first + count, 20):
            core.order(*(spawn_order(shim, ["/bin/true"], f"c:{n}", run=run) for n in range(20)))
            for n in range(20):
                core.expect("exited", key=f"c:{n}", run=run)
            core.order({"t": "ack", "n": max(report["n"] for report in core.reports if "n" in report)})
            core.reports.clear()

    cycle(1, 100)
    fds, memory = open_fds(shim.pid), rss(shim.pid)
    cycle(1000, 400)
    assert open_fds(shim.pid) <= fds
    assert rss(shim.pid) < memory + 600


def rss(pid: int) -> int:
    """Return the kilobytes of memory that are the process's own."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:")))


def test_the_shim_is_small(shim: Shim, core: Core) -> None:
    core.order(*(spawn_order(shim, program("sleeper"), f"m:{n}") for n in range(10)))
    wait_for(lambda: len(core.all("spawned")) == 10)
    lines = Path(f"/proc/{shim.pid}/smaps_rollup").read_text().splitlines()
    pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    assert pss <= 12 * 1024


def test_a_hundred_spawns_are_quick_and_an_exit_is_told_at_once(shim: Shim, core: Core) -> None:
    core.order(*(spawn_order(shim, ["/bin/sleep", "600"], f"q:{n}") for n in range(100)))
    before = time.monotonic()
    wait_for(lambda: len(core.all("spawned")) == 100)
    assert time.monotonic() - before < 5.0
    pid = core.expect("spawned", key="q:50")["pid"]
    os.kill(pid, signal.SIGKILL)
    killed = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert core.expect("exited", key="q:50")["at"] - killed < 0.5


def test_a_file_made_by_the_shim_is_0640_whatever_the_umask(tmp_path: Path) -> None:
    for number, mask in enumerate((0, 0o077)):
        place = tmp_path / str(number)
        place.mkdir()
        shim = Shim(place, preexec_fn=lambda mask=mask: os.umask(mask))
        try:
            run_to_end(shim, shim.open(), ["echo", "x"])
            assert stat.S_IMODE((shim.state / "logs/job/0.out").stat().st_mode) == 0o640
            assert stat.S_IMODE(shim.state.stat().st_mode) == 0o700
        finally:
            shim.close()


def test_null_and_inherit_and_out_are_understood(shim: Shim, core: Core) -> None:
    argv = ["sh", "-c", "echo to out; echo to err >&2"]
    run_to_end(shim, core, argv, out={"kind": "inherit"}, err={"kind": "null"})
    assert shim.stdout.read_bytes() == b"to out\n"
    run_to_end(shim, core, argv, run=2, err={"kind": "out"})
    assert output(shim) == b"to out\nto err\n"
    run_to_end(shim, core, argv, run=3, out=sink(shim, "/dev/stdout"), err=sink(shim, "/dev/null"))
    assert shim.stdout.read_bytes() == b"to out\nto out\n"
