"""Each key of a job, from the config file to what the kernel says of the process; and each key of `[taskmaster]`."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PROGRAMS, Daemon, cmdline_of, stat_of
from tests.integration.conftest import Start
from tests.integration.shared import BARE, cmd, facts, facts_in, job, read, running, words

WHO = cmd("whoami.py")
TOUCH = words("touch", "made-by-{name}")
WHOAMI = f"{' '.join(BARE)} {PROGRAMS}/whoami.py"
"""The same as a string, for what the splitting of words does."""

HOLES = ("{name}", "{index:03}", "{.Id}", "{{name}}", "$${X}", "${NO:-none}", "{.Time}")
ENVFILE = "# a comment\nFROM_FILE=file\nexport BOTH='of the file'\n"

JOBS = [
    job("words", json.dumps(f"{WHOAMI} 'a b' \"c d\" e\\ f '' 'x && y'"), description='"says it"', tags='["few"]'),
    job("array", words("sleep", "1000"), tags='["few"]'),
    job("literal", words(*BARE, PROGRAMS / "whoami.py", "a;b|c", "*", "$HOME")),
    job("shell", '"echo ${WORD} $((1 + 1)) | tr a-z A-Z"', shell="true", env='{WORD = "hello"}'),
    job("bash", '"echo $BASH_VERSION"', shell='"/bin/bash"'),
    job("three", words("sleep", "1000"), numprocess="3"),
    job("none", words("sleep", "1000"), numprocess="0"),
    job("idle", words("sleep", "1000"), autostart="false"),
    job("plain", WHO),
    job("input", words("cat"), stdin='"input.txt"'),
    job("env", WHO, env='{OWN = "own", SHARED = "mine", FROM = "${OWN} of {name}:{index}"}'),
    job("clean", WHO, cleanenv="true"),
    job("chosen", WHO, cleanenv='["HOME", "NOT_SET"]'),
    job("filed", WHO, envfile='["vars.env", "?missing.env"]', env='{BOTH = "of the job"}'),
    job("there", WHO, workingdir='"sub/{name}"'),
    job("umask", TOUCH, umask="0o027"),
    job("umasked", TOUCH, umask="0777"),
    job("umask text", words("touch", "made-by-text"), umask='"077"'),
    job("holes", words("echo", *HOLES), numprocess="2"),
    job("to file", words("echo", "said"), stdout='"out-{index}.txt"'),
    job("to null", WHO, stdout='"null"', stderr='"null"'),
    job("to ours", words("echo", "heard from {name}"), stdout='"inherit"'),
    job("both", words("sh", "-c", "echo 1; echo 2 >&2; echo 3; echo 4 >&2"), stderr='"stdout"'),
    job("apart", words("sh", "-c", "echo 1; echo 2 >&2")),
    job("defaulted", WHO),
    job("own say", WHO, nice="1"),
]  # fmt: skip

CONFIG = '[defaults]\nnice = 3\n[env]\nSHARED = "everybody\'s"\n' + "\n".join(JOBS)


@pytest.fixture(scope="module")
def it() -> Iterator[Daemon]:
    files = {"vars.env": ENVFILE, "input.txt": "from a file\n", "sub/there/x": ""}
    with running(CONFIG, files=files, env={"OUTSIDE": "of the core"}) as started:
        yield started


def said(it: Daemon, key: str) -> str:
    """Return a process's output once it has ended."""
    it.wait_state(key, "exited")
    return it.output(key)


# What runs -----------------------------------------------------------------------------------------------------------


def test_cmd_is_split_into_words_as_a_shell_does(it: Daemon) -> None:
    assert facts(it, "words:0")["argv"] == ["a b", "c d", "e f", "", "x && y"]


def test_cmd_is_found_in_the_kernel_word_by_word(it: Daemon) -> None:
    pid = it.wait_state("array:0", "running").pid
    assert pid is not None
    assert cmdline_of(pid) == ["sleep", "1000"]


def test_cmd_as_an_array_is_taken_as_it_is(it: Daemon) -> None:
    assert facts(it, "literal:0")["argv"] == ["a;b|c", "*", "$HOME"]


def test_shell_runs_cmd_through_sh_with_its_own_dollars(it: Daemon) -> None:
    assert said(it, "shell:0") == "HELLO 2\n"


def test_shell_may_be_another_shell(it: Daemon) -> None:
    assert said(it, "bash:0")[0].isdigit()


def test_numprocess_is_the_number_of_processes(it: Daemon) -> None:
    it.wait_state("three:2", "running")
    pids = it.pids("three")
    assert list(pids) == ["three:0", "three:1", "three:2"]
    assert len({pid for pid in pids.values() if pid and cmdline_of(pid) == ["sleep", "1000"]}) == 3


def test_numprocess_may_be_none(it: Daemon) -> None:
    assert it.procs("none") == []


def test_autostart_false_starts_nothing(it: Daemon) -> None:
    it.wait_state("plain:0", "exited")
    view = it.proc("idle:0")
    assert (view.state, view.goal, view.run, view.pid) == ("stopped", "down", 0, None)


def test_tags_select(it: Daemon) -> None:
    assert {view.key for view in it.procs("@few")} == {"words:0", "array:0"}


def test_description_is_shown(it: Daemon) -> None:
    assert "says it" in it.cli("show", "words").stdout


# Its surroundings ----------------------------------------------------------------------------------------------------


def test_workingdir_is_the_configs_directory_unless_it_is_said(it: Daemon) -> None:
    assert facts(it, "plain:0")["cwd"] == str(it.dir)


def test_workingdir_is_where_it_runs(it: Daemon) -> None:
    assert facts(it, "there:0")["cwd"] == str(it.dir / "sub" / "there")


@pytest.mark.parametrize(
    ("key", "file", "mode"),
    [("umask:0", "made-by-umask", 0o640), ("umasked:0", "made-by-umasked", 0), ("umask text:0", "made-by-text", 0o600)],
)
def test_umask_shows_in_the_mode_of_what_it_makes(it: Daemon, key: str, file: str, mode: int) -> None:
    it.wait_state(key, "exited")
    assert stat.S_IMODE((it.dir / file).stat().st_mode) == mode


def test_umask_0777_of_the_seed_is_warned_of(it: Daemon) -> None:
    told = it.cli("check", str(it.config_path))
    assert told.returncode == 0
    assert "W101" in told.stdout + told.stderr
    assert "W102" in told.stdout + told.stderr


def test_a_job_is_a_session_of_its_own_below_the_shim(it: Daemon) -> None:
    who = facts(it, "plain:0")
    assert (who["sid"], who["pgid"], who["ppid"]) == (who["pid"], who["pid"], it.shim_pid)


def test_defaults_hold_for_each_job(it: Daemon) -> None:
    assert facts(it, "defaulted:0")["nice"] == 3


def test_a_job_says_otherwise_than_the_defaults(it: Daemon) -> None:
    assert facts(it, "own say:0")["nice"] == 1


# Its variables -------------------------------------------------------------------------------------------------------


def test_the_cores_environment_and_the_one_of_the_file_reach_a_job(it: Daemon) -> None:
    env = facts(it, "plain:0")["env"]
    assert (env["OUTSIDE"], env["SHARED"]) == ("of the core", "everybody's")


def test_the_process_is_told_who_it_is(it: Daemon) -> None:
    env = facts(it, "plain:0")["env"]
    assert {name: env[name] for name in env if name.startswith("TASKMASTER")} == {
        "TASKMASTER_JOB": "plain", "TASKMASTER_INDEX": "0", "TASKMASTER_RUN": "1", "TASKMASTER_INSTANCE": it.instance,
    }  # fmt: skip


def test_env_wins_and_sees_what_stands_before_it(it: Daemon) -> None:
    env = facts(it, "env:0")["env"]
    assert (env["OWN"], env["SHARED"], env["FROM"]) == ("own", "mine", "own of env:0")


def test_cleanenv_starts_from_nothing(it: Daemon) -> None:
    env = facts(it, "clean:0")["env"]
    assert {name for name in env if not name.startswith("TASKMASTER_")} - {"LC_CTYPE"} == {"SHARED"}


def test_cleanenv_leaves_the_names_it_lists(it: Daemon) -> None:
    env = facts(it, "chosen:0")["env"]
    assert {name for name in env if not name.startswith("TASKMASTER_")} - {"LC_CTYPE"} == {"SHARED", "HOME"}


def test_envfile_stands_below_env_and_an_optional_one_may_be_missing(it: Daemon) -> None:
    env = facts(it, "filed:0")["env"]
    assert (env["FROM_FILE"], env["BOTH"]) == ("file", "of the job")


def test_S10_nothing_the_shim_and_core_added_reaches_a_job(it: Daemon) -> None:
    assert not {"TASKMASTER_LINK_FD", "NOTIFY_SOCKET", "PYTHONSAFEPATH"} & set(facts(it, "plain:0")["env"])


def test_placeholders_stand_for_name_index_and_time(it: Daemon) -> None:
    *said_words, born = said(it, "holes:1").split()
    assert said_words == ["holes", "001", "1", "{name}", "${X}", "none"]
    assert abs(int(born) - time.time()) < 120


# Its input and output ------------------------------------------------------------------------------------------------


def test_stdin_is_nothing_by_default(it: Daemon) -> None:
    assert facts(it, "plain:0")["fds"]["0"] == "/dev/null"


def test_stdin_is_a_file(it: Daemon) -> None:
    assert said(it, "input:0") == "from a file\n"


def test_stdout_is_redirected_to_a_path_with_placeholders(it: Daemon) -> None:
    it.wait_state("to file:0", "exited")
    assert read(it.dir / "out-0.txt") == "said\n"


def test_stdout_null_is_dev_null(it: Daemon) -> None:
    it.wait_state("to null:0", "exited")
    assert it.output("to null:0") == ""


def test_stdout_inherit_is_the_daemons(it: Daemon) -> None:
    it.wait(lambda: "heard from to ours\n" in it.stderr(100_000), what="the daemon's own output has it")


def test_stderr_stdout_keeps_the_order_of_both(it: Daemon) -> None:
    assert said(it, "both:0") == "1\n2\n3\n4\n"


def test_stdout_and_stderr_are_two_logs_by_default(it: Daemon) -> None:
    it.wait_state("apart:0", "exited")
    assert (it.output("apart:0"), it.output("apart:0", "err")) == ("1\n", "2\n")


# What it holds -------------------------------------------------------------------------------------------------------


def test_S08_a_job_holds_its_three_descriptors_and_its_lock(it: Daemon) -> None:
    fds = facts(it, "plain:0")["fds"]
    assert {number for number in fds if int(number) < 100 and "/proc/" not in fds[number]} == {"0", "1", "2"}
    assert [fds[number].rpartition("/")[2] for number in fds if int(number) >= 100] == ["plain%3A0.lock"]


def test_S09_no_signal_is_blocked_or_ignored_in_a_job(it: Daemon) -> None:
    pid = it.wait_state("array:0", "running").pid
    lines = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert [int(lines[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]
    assert stat_of(pid or 0)[1] == str(it.shim_pid)


# [taskmaster] --------------------------------------------------------------------------------------------------------


SETTINGS = """
[taskmaster]
statedir = "kept"
logfile = "told.log"
loglevel = "warning"
include = ["more/*.toml"]
"""


def test_settings_name_the_state_the_log_and_further_files(daemon_for: Start) -> None:
    it = daemon_for(SETTINGS)
    (it.dir / "more").mkdir()
    (it.dir / "more" / "a.toml").write_text(job("one", words("sh", "-c", "exit 3"), restart='"never"', exitcodes="[3]"))
    (it.dir / "more" / "b.toml").write_text(job("two", WHO, retry="0") + job("lost", words("/no/such"), retry="0"))
    it.start()
    it.wait_state("one:0", "exited")
    who = facts_in(it, lambda: read(it.dir / "kept" / "logs" / "two" / "0.out"))
    assert who["cwd"] == str(it.dir / "more"), "the directory of the file that declares it"
    it.wait_state("lost:0", "fatal")
    assert it.status()["core"]["statedir"] == str(it.dir / "kept")
    told = it.wait(lambda: read(it.dir / "told.log"), what="the log of events tells the failure")
    assert "lost:0" in told
    assert "one:0" not in told, "what is expected is told at the level info"


def test_maxstarts_bounds_how_many_are_born_at_a_time_and_all_are_in_the_end(daemon: Start) -> None:
    it = daemon("[taskmaster]\nmaxstarts = 1\n" + job("many", words("sleep", "1000"), numprocess="12"))
    it.wait_state("many:11", "running")
    order = [event.key for event in it.events("started")]
    assert order == [f"many:{index}" for index in range(12)], "one after the other"


def test_shutdown_bounds_the_ordered_stop(daemon: Start) -> None:
    it = daemon('[taskmaster]\nshutdown = "0.5s"\n' + job("deaf", cmd("stubborn.py"), stopdelay='"60s"'))
    it.wait(lambda: it.output("deaf:0"), what="it is deaf by now")
    began = time.monotonic()
    assert it.stop() == 0
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("command", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("exit 0", 0)])
def test_exitwith_ends_the_daemon_with_the_jobs_status(daemon_for: Start, command: str, status: int) -> None:
    main = job("main", json.dumps(f"sleep 0.3; {command}"), shell="true", restart='"never"', exitwith="true")
    it = daemon_for(main + job("other", words("sleep", "1000"))).start(wait=False)
    assert it.process is not None
    assert it.process.wait(30) == status


def test_K06_delays_beyond_reason_are_refused_with_the_key(daemon_for: Start) -> None:
    it = daemon_for(job("a", WHO, stopdelay="1e30", numprocess="1000000")).start(wait=False)
    assert it.process is not None
    assert it.process.wait(30) == 6
    assert "numprocess" in it.stderr()


def test_L18_an_unknown_user_is_an_error_before_anything_runs(daemon_for: Start) -> None:
    it = daemon_for(job("a", words("touch", "made"), uid='"no-such-user"')).start(wait=False)
    assert it.process is not None
    assert it.process.wait(30) == 6
    assert "no-such-user" in it.stderr()
    assert not (it.dir / "made").exists()
