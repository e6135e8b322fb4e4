"""Output from the process to the file and to `taskmaster logs`: whole, in order, rotated, in spite of others."""

from __future__ import annotations

import gzip
import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.harness import Daemon, status_field
from tests.integration.conftest import Start
from tests.integration.shared import cmd, job, read, running, words

HALVES = 'i=0; while [ $i -lt 20 ]; do printf "{index:02} $i "; printf "end\\n"; i=$((i + 1)); done'
BIG = 1_000_000
WORDS = f"head -c {BIG} /dev/zero | tr '\\0' x; echo last"
BINARY = (
    r"printf '\000\001\377\376\r\n'; printf '\303'; sleep 0.1; printf '\251\n';"
    r"printf '\033[31mred\033]0;t\007\n'; printf 'no end'"
)
LINE = "x" * 4_000
COUNT = 40_000

SMALL = "{maxsize = 500, keep = 1000, compress = false}"
PART = re.compile(r"0\.out\.[0-9T]+\.[0-9]{6}(\.gz)?")

JOBS = [
    job("shared", words("sh", "-c", HALVES), numprocess="42", stdout='"all.txt"'),
    job("both paths", words("sh", "-c", "echo 1; echo 2 >&2; echo 3"), stdout='"both.txt"', stderr='"both.txt"'),
    job("last words killed", words("sh", "-c", f"{WORDS}; kill -KILL $$"), restart='"never"'),
    job("last words", cmd("last_words.py", BIG), restart='"never"'),
    job("binary", words("sh", "-c", BINARY)),
    job("long lines", words("sh", "-c", f"echo {LINE}; echo {LINE}; echo end"), log=SMALL),
    job("counts", cmd("counter.py", COUNT, 100), log="{maxsize = 50_000, keep = 3}"),
    job("all counts", cmd("counter.py", COUNT, 100), log="{maxsize = 50_000, keep = 100}"),
    job("path counts", cmd("counter.py", COUNT, 100), stdout='"counts.txt"'),
    job("ticks", cmd("counter.py", 10**8, 1, 0.01), stdout='"ticks.txt"'),
    job("direct", words("echo", "straight"), log="{direct = true}"),
    job("early", words("sh", "-c", "echo early 1; echo early bird >&2")),
    job("late", words("sh", "-c", "sleep 0.4; echo late 1; sleep 0.5; echo late 2")),
]  # fmt: skip


@pytest.fixture(scope="module")
def it() -> Iterator[Daemon]:
    with running("\n".join(JOBS)) as started:
        yield started


def parts(it: Daemon, name: str) -> list[Path]:
    """Return the parts of a process's log, oldest first, the current file last."""
    current = Path(it.places.log_path(name, 0, "out"))
    rotated = [each for each in current.parent.iterdir() if PART.fullmatch(each.name)]
    return [*sorted(rotated, key=lambda each: each.name.removesuffix(".gz").rpartition(".")[2]), current]


def whole(files: list[Path]) -> bytes:
    """Return what is in the parts, unpacked."""
    return b"".join(gzip.decompress(each.read_bytes()) if each.suffix == ".gz" else each.read_bytes() for each in files)


def numbers(data: bytes) -> list[int]:
    """Return the lines of a counting writer."""
    return [int(line) for line in data.splitlines()]


# Whole and in order --------------------------------------------------------------------------------------------------


def test_42_processes_append_whole_lines_to_one_file(it: Daemon) -> None:
    it.request("wait", "shared", timeout=30, **{"for": "exited"})
    lines = read(it.dir / "all.txt").splitlines()
    assert sorted(lines) == sorted(f"{index:02} {count} end" for index in range(42) for count in range(20))


def test_the_lines_of_each_of_them_keep_their_order(it: Daemon) -> None:
    it.request("wait", "shared", timeout=30, **{"for": "exited"})
    mine = [line for line in read(it.dir / "all.txt").splitlines() if line.startswith("07 ")]
    assert mine == [f"07 {count} end" for count in range(20)]


def test_G16_stdout_and_stderr_may_be_one_path(it: Daemon) -> None:
    it.wait_state("both paths:0", "exited")
    assert sorted(read(it.dir / "both.txt").splitlines()) == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["last words killed", "last words"])
def test_G15_last_words_are_in_the_file_before_the_exit_is_told(it: Daemon, name: str) -> None:
    it.wait_event("exited", f"{name}:0", timeout=20)
    text = it.output(f"{name}:0")
    assert (len(text), text[-6:]) == (BIG + 5, "xlast\n")


def test_G10_the_file_is_byte_for_byte_what_was_written(it: Daemon) -> None:
    it.wait_state("binary:0", "exited")
    assert Path(it.places.log_path("binary", 0, "out")).read_bytes() == RAW


def test_log_direct_gives_the_process_the_file_itself(it: Daemon) -> None:
    it.wait_state("direct:0", "exited")
    assert it.output("direct:0") == "straight\n"


# Rotation ------------------------------------------------------------------------------------------------------------


def test_G08_a_line_longer_than_the_file_is_kept_and_rotation_ends(it: Daemon) -> None:
    it.wait_state("long lines:0", "exited")
    files = parts(it, "long lines")
    assert whole(files).decode() == f"{LINE}\n{LINE}\nend\n"
    assert len(files) <= 20


def test_rotation_keeps_so_many_parts_and_the_newest_lines(it: Daemon) -> None:
    it.wait_state("counts:0", "exited", timeout=20)
    it.wait(lambda: len(parts(it, "counts")) <= 4, what="three parts and the current file")
    kept = numbers(whole(parts(it, "counts")))
    assert kept == list(range(kept[0], COUNT))
    assert len(kept) >= 15_000


def test_old_parts_are_gzipped_by_the_core_and_lose_nothing(it: Daemon) -> None:
    it.wait_state("all counts:0", "exited", timeout=20)
    it.wait(lambda: {each.suffix for each in parts(it, "all counts")[:-1]} == {".gz"}, what="all parts are gzipped")
    assert len(parts(it, "all counts")) >= 8
    assert numbers(whole(parts(it, "all counts"))) == list(range(COUNT))


def test_a_redirection_to_a_path_is_not_rotated_unless_asked(it: Daemon) -> None:
    it.wait_state("path counts:0", "exited", timeout=20)
    assert numbers((it.dir / "counts.txt").read_bytes()) == list(range(COUNT))


def test_the_file_is_closed_to_others_whatever_the_umask(it: Daemon) -> None:
    it.wait_state("path counts:0", "exited", timeout=20)
    assert (it.dir / "counts.txt").stat().st_mode & 0o777 == 0o640


# `taskmaster logs` ---------------------------------------------------------------------------------------------------

RAW = b"\x00\x01\xff\xfe\r\n\xc3\xa9\n\x1b[31mred\x1b]0;t\x07\nno end"


def logs(it: Daemon, *words_: str) -> list[str]:
    """Return the lines `taskmaster logs` prints."""
    told = it.cli("logs", *words_)
    assert told.returncode == 0, told.stderr
    return told.stdout.splitlines()


def test_logs_over_packed_parts_reads_every_line(it: Daemon) -> None:
    it.wait_state("all counts:0", "exited", timeout=20)
    assert [int(line) for line in logs(it, "all counts", "-n", str(COUNT))] == list(range(COUNT))


def test_logs_n_is_the_last_n_lines(it: Daemon) -> None:
    it.wait_state("path counts:0", "exited", timeout=20)
    assert logs(it, "path counts", "-n", "2") == ["000039998", "000039999"]


def test_logs_g_is_the_lines_that_match(it: Daemon) -> None:
    it.wait_state("path counts:0", "exited", timeout=20)
    assert logs(it, "path counts", "-g", "^0000(1|3)7777$") == ["000017777", "000037777"]


def test_logs_of_several_jobs_are_merged_by_time_and_named(it: Daemon) -> None:
    it.wait_state("late:0", "exited")
    lines = logs(it, "late", "early", "--stdout")
    assert [" ".join(line.split()[-2:]) for line in lines] == ["early 1", "late 1", "late 2"]
    assert all(line.startswith(("early", "late")) for line in lines)


def test_logs_stderr_is_that_stream_alone(it: Daemon) -> None:
    it.wait_state("early:0", "exited")
    assert logs(it, "early", "--stderr") == ["early bird"]


def test_logs_since_and_until_cut_by_time(it: Daemon) -> None:
    it.wait_state("late:0", "exited")
    (begin,) = it.events("started", "late:0")
    told, _ = it.request_raw("logs", "late")
    cut = told["lines"][0][0] + 0.1
    reply, raw = it.request_raw("logs", "late", since=cut)
    assert raw == b"late 2\n"
    assert reply["lines"][0][0] >= cut
    _, before = it.request_raw("logs", "late", until=begin.at + 0.1)
    assert before == b""


def test_G10_logs_raw_is_byte_exact(it: Daemon) -> None:
    it.wait_state("binary:0", "exited")
    command = it.command("logs", "binary", "--raw")
    told = subprocess.run(command, env=it.env, cwd=it.dir, capture_output=True, check=True)
    assert told.stdout == RAW


def test_logs_f_goes_on_with_what_is_written(it: Daemon) -> None:
    follow = it.popen("logs", "ticks", "-f", "-n", "1")
    assert follow.stdout is not None
    first, second, third = (int(follow.stdout.readline()) for _ in range(3))
    assert [second, third] == [first + 1, first + 2]


# In spite of others --------------------------------------------------------------------------------------------------


def ticking(it: Daemon, path: Path, more: int = 3) -> list[int]:
    """Wait until some more lines of the counting writer are in a file; return all that is there."""
    before = read(path).count("\n")
    it.wait(lambda: read(path).count("\n") >= before + more, what=f"{path.name} grows")
    return numbers(path.read_bytes().rpartition(b"\n")[0])


def contiguous(found: list[int]) -> bool:
    """Tell whether each number follows its predecessor."""
    return all(after == before + 1 for before, after in pairwise(found))


def test_G03_a_deleted_file_is_made_again(it: Daemon) -> None:
    path = it.dir / "ticks.txt"
    ticking(it, path)
    path.unlink()
    it.wait(path.exists, timeout=5, what="the file is there again")
    assert contiguous(ticking(it, path))


def test_G05_truncated_by_others_continues_at_the_new_end(it: Daemon) -> None:
    path = it.dir / "ticks.txt"
    ticking(it, path)
    os.truncate(path, 0)
    assert contiguous(ticking(it, path)), "no hole of NULs at the head"
    assert b"\0" not in path.read_bytes()


def test_G06_a_moved_file_is_left_at_usr2_and_no_line_is_lost(it: Daemon) -> None:
    path, moved = it.dir / "ticks.txt", it.dir / "ticks.moved"
    ticking(it, path)
    path.rename(moved)
    os.kill(it.shim_pid, signal.SIGUSR2)
    it.wait(path.exists, timeout=5, what="a new file")
    ticking(it, path)
    assert contiguous(numbers(moved.read_bytes() + path.read_bytes().rpartition(b"\n")[0]))


def test_stdout_switched_by_a_reload_keeps_the_pid_and_every_line(daemon: Start) -> None:
    ticker = cmd("counter.py", 10**8, 1, 0.005)
    it = daemon(job("ticks", ticker, stdout='"one.txt"'))
    ticking(it, it.dir / "one.txt")
    pid = it.proc("ticks:0").pid
    it.write_config(job("ticks", ticker, stdout='"two.txt"'))
    it.request("reload")
    ticking(it, it.dir / "two.txt")
    assert it.proc("ticks:0").pid == pid
    both = (it.dir / "one.txt").read_bytes() + (it.dir / "two.txt").read_bytes().rpartition(b"\n")[0]
    assert contiguous(numbers(both))


def test_G12_a_flood_delays_neither_control_nor_other_output_and_costs_no_memory(daemon: Start) -> None:
    it = daemon(job("flood", words("yes"), log='{maxsize = "10MB", keep = 1}') + job("clock", cmd("clock.py", 20)))
    it.wait(lambda: len(list(Path(it.places.log_path("flood", 0, "out")).parent.glob("0.out.*"))), what="it floods")
    before, began = int(status_field(it.shim_pid, "VmRSS").split()[0]), time.monotonic()
    trips = []
    while time.monotonic() - began < 10:
        asked = time.monotonic()
        it.request("status")
        trips.append(time.monotonic() - asked)
        time.sleep(0.05)  # the pace of an operator who looks often
    grown = int(status_field(it.shim_pid, "VmRSS").split()[0]) - before
    reply, raw = it.request_raw("logs", "clock")
    delays = [line[0] - float(said) for line, said in zip(reply["lines"], raw.split(), strict=True)]
    assert grown < 4_000, f"{grown} KiB more"
    assert statistics.median(trips) < 0.2
    assert statistics.median(delays) < 0.2
    assert len(delays) > 20, "the quiet one was heard all the time"
