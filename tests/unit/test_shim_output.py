"""What jobs write reaches the files byte for byte, whatever happens to those (RELIABILITY G01 to G18)."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.shim_harness import Core, Report, Shim, alive, output, program, sink, spawn_order, wait_for

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NULL: Report = {"kind": "null"}


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    shim = Shim(tmp_path)
    yield shim
    shim.close()


@pytest.fixture
def core(shim: Shim) -> Core:
    return shim.open()


def numbers(count: int) -> bytes:
    return b"".join(b"%09d\n" % number for number in range(count))


def parts_of(path: Path) -> list[Path]:
    """Return the rotated parts of a file, oldest first."""
    found = path.parent.glob(f"{path.name}.2*")
    return sorted(found, key=lambda part: int(part.name.removesuffix(".gz").rpartition(".")[2]))


def index_of(path: str | Path) -> list[tuple[int, float, int, int]]:
    return list(struct.iter_unpack("<QdII", Path(path).read_bytes()))


def kill(core: Core, key: str = "job:0", run: int = 1) -> None:
    core.order({"t": "kill", "key": key, "run": run, "tree": True})
    core.expect("exited", key=key, run=run, lingering=0)


def ready(shim: Shim, text: bytes = b"\n") -> None:
    wait_for(lambda: text in output(shim), f"{text!r} in the output")


# -- bytes --------------------------------------------------------------------------------------------------------


def test_G15_last_words_are_in_the_file_before_the_exit_is_told(shim: Shim, core: Core) -> None:
    command = "import os; os.write(1, b'x' * (1 << 20)); os.write(1, b'end'); os.kill(os.getpid(), 9)"
    core.order(spawn_order(shim, [*program("whoami")[:3], "-c", command]))
    assert core.expect("exited")["signal"] == signal.SIGKILL
    assert output(shim) == b"x" * (1 << 20) + b"end"


def test_G10_binary_output_is_kept_byte_for_byte(shim: Shim, core: Core, tmp_path: Path) -> None:
    data = os.urandom(300_000) + b"\0\r\r\n\x1b]52;c;x\x07\xc3" + b"\xa4\xff"
    (tmp_path / "data").write_bytes(data)
    core.order(spawn_order(shim, ["cat", str(tmp_path / "data")]))
    core.expect("exited")
    assert output(shim) == data


def test_the_index_says_where_each_chunk_is_and_when_it_came(shim: Shim, core: Core) -> None:
    before = time.time()
    core.order(spawn_order(shim, program("counter", 20, 1, 0.01)))
    core.expect("exited")
    records = index_of(shim.state / "logs/job/0.out.idx")
    assert 15 <= len(records) <= 20
    offset = 0
    for at, wall, tag, length in records:
        assert (at, tag) == (offset, 0)
        assert before <= wall <= time.time()
        offset += length
    assert offset == 200
    assert [wall for _, wall, _, _ in records] == sorted(wall for _, wall, _, _ in records)
    assert (shim.state / "logs/job/0.out.idx.tags").read_text() == "job:0\n"


def test_the_index_goes_on_over_runs(shim: Shim, core: Core) -> None:
    for run in (1, 2, 3):
        core.order(spawn_order(shim, ["echo", str(run)], run=run))
        core.expect("exited", run=run)
    assert output(shim) == b"1\n2\n3\n"
    assert [(at, length) for at, _, _, length in index_of(shim.state / "logs/job/0.out.idx")] == [
        (0, 2),
        (2, 2),
        (4, 2),
    ]


def test_a_direct_file_is_the_jobs_own(shim: Shim, core: Core, tmp_path: Path) -> None:
    target = tmp_path / "direct"
    target.write_text("old\n")
    core.order(spawn_order(shim, program("whoami"), out=sink(shim, str(target), direct=True)))
    core.expect("exited")
    assert target.read_text().startswith("old\n{")
    assert f'"1": "{target}"' in target.read_text()


# -- shared files -------------------------------------------------------------------------------------------------


def test_processes_that_share_a_file_append_whole_lines(shim: Shim, core: Core, tmp_path: Path) -> None:
    path = str(tmp_path / "shared")
    script = (
        "import os,time\nfor n in range(200):\n os.write(1, b'%s-'); time.sleep(0.0002); os.write(1, b'%%d\\n' %% n)"
    )
    python = program("whoami")[:3]
    core.order(
        *(
            spawn_order(shim, [*python, "-c", script % letter], f"{letter}:0", out=sink(shim, path, f"{letter}:0"))
            for letter in "abcd"
        )
    )
    for letter in "abcd":
        core.expect("exited", key=f"{letter}:0")
    lines = Path(path).read_text().splitlines()
    assert sorted(lines) == sorted(f"{letter}-{n}" for letter in "abcd" for n in range(200))
    tags = (Path(path + ".idx.tags")).read_text().splitlines()
    data = Path(path).read_bytes()
    for at, _, tag, length in index_of(path + ".idx"):
        assert {line[:1] for line in data[at : at + length].decode().splitlines()} == {tags[tag][:1]}


def test_a_last_line_without_newline_is_completed_in_a_shared_file(shim: Shim, core: Core, tmp_path: Path) -> None:
    path = str(tmp_path / "shared")
    core.order(*(spawn_order(shim, ["printf", "x"], f"p:{n}", out=sink(shim, path, f"p:{n}")) for n in range(3)))
    wait_for(lambda: len(core.all("exited")) == 3)
    assert Path(path).read_bytes() == b"x\n" * 3


def test_a_line_without_end_in_a_shared_file_is_cut_and_memory_stays_bounded(shim: Shim, core: Core) -> None:
    quiet = spawn_order(shim, program("sleeper"), "q:0", out=sink(shim, "both", "q:0"))
    loud = spawn_order(shim, ["head", "-c", "5000000", "/dev/zero"], "l:0", out=sink(shim, "both", "l:0"))
    core.order(quiet, loud)
    core.expect("exited", key="l:0")
    data = output(shim, "both")
    assert data.count(b"\0") == 5_000_000
    assert data.replace(b"\0", b"").strip(b"\n") in (b"ready", b"")


def test_stdout_and_stderr_may_be_one_path(shim: Shim, core: Core) -> None:
    both = sink(shim, "both")
    core.order(spawn_order(shim, ["sh", "-c", "echo a; echo b >&2; echo c"], out=both, err=both))
    core.expect("exited")
    assert sorted(output(shim, "both").splitlines()) == [b"a", b"b", b"c"]


# -- rotation -----------------------------------------------------------------------------------------------------


def test_a_rotated_counting_writer_loses_no_byte_and_cuts_at_lines(shim: Shim, core: Core) -> None:
    count = 200_000
    out = sink(shim, "r", maxsize=100_000, keep=1000)
    core.order(spawn_order(shim, program("counter", count, 50), out=out))
    core.expect("exited")
    path = shim.state / "logs/r"
    parts = parts_of(path)
    assert b"".join(part.read_bytes() for part in [*parts, path]) == numbers(count)
    assert all(part.stat().st_size <= 100_000 for part in parts)
    assert all(part.read_bytes().endswith(b"\n") for part in parts)
    told = [report["part"] for report in core.all("rotated")]
    assert told == [str(part) for part in parts]
    assert len(parts) >= 19
    assert len({part.name for part in parts}) == len(parts)


def test_the_index_is_rotated_along(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("counter", 3000, 10), out=sink(shim, "r", maxsize=10_000, keep=99)))
    core.expect("exited")
    path = shim.state / "logs/r"
    parts = parts_of(path)
    assert len(parts) == 2 or len(parts) == 3
    for part in parts:
        suffix = part.name.removeprefix("r.")
        records = index_of(f"{shim.state}/logs/r.idx.{suffix}")
        assert sum(length for *_, length in records) == part.stat().st_size
    rest = index_of(f"{shim.state}/logs/r.idx") if path.stat().st_size else []
    assert sum(length for *_, length in rest) == path.stat().st_size


def test_only_so_many_parts_are_kept_packed_or_not(shim: Shim, core: Core) -> None:
    logs = shim.state / "logs"
    logs.mkdir(parents=True)
    shim.state.chmod(0o700)
    for number in (7, 8):
        (logs / f"r.20200101T000000.{number:06d}.gz").write_bytes(gzip.compress(b"old"))
        (logs / f"r.idx.20200101T000000.{number:06d}").touch()
    (logs / "r.notours").touch()
    core.order(spawn_order(shim, program("counter", 1000, 10), out=sink(shim, "r", maxsize=2000, keep=2)))
    core.expect("exited")
    parts = parts_of(logs / "r")
    assert len(parts) == 2
    assert not any(part.name.startswith("r.2020") for part in parts)
    assert len(list(logs.glob("r.idx.2*"))) <= 2
    assert (logs / "r.notours").exists()
    assert core.all("rotated")[0]["part"].endswith(".000009")


def test_G08_a_line_longer_than_the_file_is_split_and_nothing_is_lost(shim: Shim, core: Core) -> None:
    out = sink(shim, "r", maxsize=4096, keep=10_000)
    core.order(spawn_order(shim, ["head", "-c", "1000000", "/dev/zero"], out=out))
    core.expect("exited")
    path = shim.state / "logs/r"
    parts = parts_of(path)
    assert sum(part.stat().st_size for part in [*parts, path]) == 1_000_000
    assert {part.stat().st_size for part in parts} == {4096}


def test_G08_a_file_that_becomes_exactly_full_is_rotated_and_its_job_goes_on(shim: Shim, core: Core) -> None:
    """With nothing left to move and no room, splice says 0, which was taken for the end of the output."""
    block, blocks = 65_536, 40
    command = f"import os, time\nfor _ in range({blocks}): os.write(1, b'x' * {block}); time.sleep(0.005)"
    out = sink(shim, "r", maxsize=4 * block, keep=99, compress=False)
    core.order(spawn_order(shim, [*program("whoami")[:3], "-c", command], out=out))
    assert core.expect("exited")["code"] == 0
    written = [part.read_bytes() for part in (shim.state / "logs").glob("r*") if ".idx" not in part.name]
    whole = [gzip.decompress(each) if each[:2] == b"\x1f\x8b" else each for each in written]
    assert sum(map(len, whole)) == blocks * block


@pytest.mark.parametrize("maxsize", [0, 1])
def test_G08_an_absurd_maxsize_does_not_rotate_without_end(shim: Shim, core: Core, maxsize: int) -> None:
    core.order(spawn_order(shim, program("counter", 2000, 100), out=sink(shim, "r", maxsize=maxsize, keep=10_000)))
    core.expect("exited")
    path = shim.state / "logs/r"
    parts = parts_of(path)
    assert b"".join(part.read_bytes() for part in [*parts, path]) == numbers(2000)
    assert len(parts) <= 20


def test_a_shared_file_rotates_by_whole_lines(shim: Shim, core: Core) -> None:
    core.order(
        *(
            spawn_order(
                shim, program("counter", 5000, 7), f"c:{n}", out=sink(shim, "r", f"c:{n}", maxsize=20_000, keep=99)
            )
            for n in range(3)
        )
    )
    wait_for(lambda: len(core.all("exited")) == 3)
    path = shim.state / "logs/r"
    lines = b"".join(part.read_bytes() for part in [*parts_of(path), path]).splitlines()
    assert sorted(lines) == sorted(numbers(5000).splitlines() * 3)
    assert all(part.read_bytes().endswith(b"\n") for part in parts_of(path))


# -- what others do to the files ----------------------------------------------------------------------------------


def test_G03_a_deleted_file_is_made_again(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("chatty", 100)))
    ready(shim)
    (shim.state / "logs/job/0.out").unlink()
    wait_for(lambda: output(shim), seconds=5)
    assert output(shim).startswith(b"line ")


def test_G04_a_deleted_directory_comes_back_and_the_job_never_notices(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("chatty", 100)))
    pid = core.expect("spawned")["pid"]
    ready(shim)
    subprocess.run(["rm", "-r", str(shim.state / "logs/job")], check=True)
    wait_for(lambda: output(shim), seconds=5)
    assert alive(pid)


def test_G04_a_directory_that_is_gone_for_a_redirection_is_a_loss_until_it_is_back(
    shim: Shim, core: Core, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    core.order(spawn_order(shim, program("chatty", 100), out=sink(shim, str(tmp_path / "d/f"), index=None)))
    wait_for(lambda: (tmp_path / "d/f").exists() and (tmp_path / "d/f").read_bytes())
    subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)
    assert core.expect("loss", over=False)["errno"] == "ENOENT"
    (tmp_path / "d").mkdir()
    over = core.expect("loss", over=True)
    assert over["bytes"] > 0
    text = (tmp_path / "d/f").read_text()
    assert text.startswith(f"[taskmaster: {over['bytes']} bytes dropped, ENOENT]\n")


def test_G05_truncated_by_others_continues_at_the_new_end(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("chatty", 200)))
    wait_for(lambda: len(output(shim)) > 300)
    os.truncate(shim.state / "logs/job/0.out", 0)
    wait_for(lambda: output(shim))
    wait_for(lambda: len(output(shim)) > 100)
    assert b"\0" not in output(shim)
    assert output(shim).startswith(b"line ")
    wait_for(lambda: index_of(shim.state / "logs/job/0.out.idx")[0][0] == 0)


def test_G05_what_others_append_is_not_overwritten(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("chatty", 50)))
    ready(shim)
    with (shim.state / "logs/job/0.out").open("ab") as file:
        file.write(b"marker of an operator\n")
    size = len(output(shim))
    wait_for(lambda: len(output(shim)) > size + 50)
    assert output(shim).count(b"marker of an operator\n") == 1


def test_G06_a_moved_file_is_followed_by_a_new_one_at_the_path(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("counter", 100_000, 1, 0.005)))
    ready(shim)
    path = shim.state / "logs/job/0.out"
    path.rename(f"{path}.moved")
    wait_for(lambda: len(output(shim)) > 50, seconds=5)
    kill(core)
    data = Path(f"{path}.moved").read_bytes() + path.read_bytes()
    assert data == numbers(len(data) // 10)


@pytest.mark.parametrize("by_signal", [True, False])
def test_G06_reopen_makes_a_new_file_at_once(shim: Shim, core: Core, by_signal: bool) -> None:
    core.order(spawn_order(shim, program("sleeper")))
    ready(shim)
    path = shim.state / "logs/job/0.out"
    path.rename(f"{path}.moved")
    if by_signal:
        os.kill(shim.pid, signal.SIGUSR2)
    else:
        core.order({"t": "reopen"})
    wait_for(path.exists)


# -- full disks ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], check=False, capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_G01_a_full_disk_drops_counts_marks_and_heals(shim: Shim, core: Core, small: Path) -> None:
    (small / "ballast").write_bytes(b"x" * 200_000)
    core.order(
        spawn_order(shim, program("counter", 1_000_000, 10, 0.001), out=sink(shim, str(small / "f"), index=None))
    )
    pid = core.expect("spawned")["pid"]
    assert core.expect("loss", over=False)["errno"] == "ENOSPC"
    assert alive(pid)
    (small / "ballast").unlink()
    over = core.expect("loss", over=True)
    marker = f"[taskmaster: {over['bytes']} bytes dropped, ENOSPC]\n".encode()
    wait_for(lambda: len((small / "f").read_bytes().partition(marker)[2]) > 20)
    kill(core)
    head, _, tail = (small / "f").read_bytes().partition(marker)
    missing = over["bytes"]
    kept = head[:-1] if not numbers(30_000).startswith(head) else head  # a newline may precede the marker
    assert numbers(30_000).startswith(kept)
    assert numbers(1_000_000)[len(kept) + missing :].startswith(tail)


def test_G01_with_block_nothing_is_lost_and_the_job_waits(shim: Shim, core: Core, small: Path) -> None:
    (small / "ballast").write_bytes(b"x" * 220_000)
    core.order(
        spawn_order(shim, program("counter", 15_000, 10), out=sink(shim, str(small / "f"), index=None, full="block"))
    )
    assert core.expect("loss", over=False)["bytes"] == 0
    core.receive(0.3)
    assert not core.all("exited")
    (small / "ballast").unlink()
    core.expect("exited")
    assert core.expect("loss", over=True)["bytes"] == 0
    wait_for(lambda: (small / "f").read_bytes() == numbers(15_000))


def test_G02_a_limit_on_file_size_is_a_loss_and_not_the_end_of_the_shim(tmp_path: Path) -> None:
    shim = Shim(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)))
    try:
        core = shim.open()
        core.order(spawn_order(shim, ["sh", "-c", "head -c 200000 /dev/zero | cat"]))
        assert core.expect("loss")["errno"] == "EFBIG"
        core.expect("exited")
        assert len(output(shim)) == 50_000
    finally:
        shim.close()


# -- floods -------------------------------------------------------------------------------------------------------


def memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_G12_a_flood_neither_delays_the_others_nor_costs_memory(shim: Shim, core: Core) -> None:
    flood = spawn_order(shim, ["yes"], "flood:0", err=NULL, out=sink(shim, "flood", maxsize=5_000_000, keep=1))
    core.order(flood, spawn_order(shim, program("counter", 20, 1, 0.02)))
    core.expect("exited", key="job:0")
    assert output(shim) == numbers(20)
    before = memory(shim.pid)
    worst = 0.0
    for run in range(1, 6):
        asked = time.monotonic()
        core.order(spawn_order(shim, ["/no/such"], "ask:0", run))
        core.expect("failed", run=run)
        worst = max(worst, time.monotonic() - asked)
        core.receive(0.1)
    assert worst < 1.0
    assert memory(shim.pid) < before + 1500
    assert core.all("rotated")
    kill(core, "flood:0")


def test_G09_an_endless_line_costs_no_memory(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, ["head", "-c", "60000000", "/dev/zero"]))
    core.expect("exited")
    assert (shim.state / "logs/job/0.out").stat().st_size == 60_000_000
    assert memory(shim.pid) < 13 * 1024


def test_more_files_than_may_be_open_at_a_time_work(tmp_path: Path) -> None:
    shim = Shim(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128)))
    try:
        core = shim.open()
        keys = [f"k:{n}" for n in range(24)]
        core.order(*(spawn_order(shim, program("counter", 30, 1, 0.01), key, err=NULL) for key in keys))
        for key in keys:
            assert core.expect("exited", key=key)["code"] == 0
        assert all(output(shim, f"k/{n}.out") == numbers(30) for n in range(24))
    finally:
        shim.close()


# -- which files may be written -----------------------------------------------------------------------------------


def refused(shim: Shim, core: Core, path: str, run: int = 1, **fields: Any) -> Report:
    core.order(spawn_order(shim, ["true"], run=run, out=sink(shim, path, index=None, **fields)))
    return core.expect("failed", run=run)


def test_G18_special_files_are_refused_with_a_sentence(shim: Shim, core: Core, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    cases = {
        str(tmp_path / "fifo"): "FIFO",
        str(tmp_path / "dir"): "directory",
        "/dev/full": "character device",
        str(tmp_path / "none/f"): "No such directory",
        "/proc/self/fd/77": "descriptor 77",
        str(shim._control): "",
        str(shim.state / "shim.lock"): "our own",
        str(shim.state / "logs/../runs/x"): "our own",
    }
    for run, (path, words) in enumerate(cases.items(), 1):
        report = refused(shim, core, path, run)
        assert report["stage"] == "stdout"
        assert words in report["message"]
    assert not core.all("spawned")


def test_an_error_output_that_cannot_be_opened_says_stderr(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, ["true"], err=sink(shim, "/no/such/directory/f")))
    report = core.expect("failed")
    assert (report["stage"], report["errno"]) == ("stderr", "ENOENT")


def test_own_links_are_followed(shim: Shim, core: Core, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    core.order(spawn_order(shim, ["echo", "x"], out=sink(shim, str(tmp_path / "link"))))
    core.expect("exited")
    assert (tmp_path / "target").read_text() == "x\n"
    assert (tmp_path / "link").is_symlink()


@ROOT_ONLY
def test_S06_links_and_files_planted_by_others_are_refused(shim: Shim, core: Core, tmp_path: Path) -> None:
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "link").symlink_to("/etc/passwd")
    os.lchown(sticky / "link", 65534, 65534)
    (sticky / "file").touch()
    os.chown(sticky / "file", 65534, 65534)
    assert "uid 65534" in refused(shim, core, str(sticky / "link"), 1)["message"]
    assert "uid 65534" in refused(shim, core, str(sticky / "file"), 2)["message"]
    core.order(spawn_order(shim, ["echo", "x"], run=3, out=sink(shim, str(sticky / "new"))))
    assert core.expect("exited", run=3)["code"] == 0


@ROOT_ONLY
def test_S06_a_directory_that_was_turned_into_a_link_is_refused(shim: Shim, core: Core, tmp_path: Path) -> None:
    """A user who owns the directory above the logs can lead them nowhere: nothing is made where the link leads."""
    (tmp_path / "home").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "home/logs").symlink_to(tmp_path / "etc")
    os.lchown(tmp_path / "home/logs", 65534, 65534)
    assert "uid 65534" in refused(shim, core, str(tmp_path / "home/logs/cron"), 1)["message"]
    assert list((tmp_path / "etc").iterdir()) == []
    (tmp_path / "home/ours").symlink_to("../etc")
    core.order(spawn_order(shim, ["echo", "x"], run=2, out=sink(shim, str(tmp_path / "home/ours/log"))))
    assert core.expect("exited", run=2)["code"] == 0
    assert (tmp_path / "etc/log").read_text() == "x\n"


@ROOT_ONLY
def test_S06_a_hard_link_planted_in_a_directory_of_others_is_refused(shim: Shim, core: Core, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root's\n")
    (tmp_path / "theirs").mkdir()
    os.link(tmp_path / "secret", tmp_path / "theirs/log")
    os.chown(tmp_path / "theirs", 65534, 65534)
    assert "another name" in refused(shim, core, str(tmp_path / "theirs/log"), 1)["message"]
    assert (tmp_path / "secret").read_text() == "root's\n"


@ROOT_ONLY
def test_S06_a_file_of_the_jobs_owner_is_made_with_the_rights_of_the_owner(
    shim: Shim, core: Core, tmp_path: Path
) -> None:
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == os.geteuid() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o011)
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    path = tmp_path / "theirs/f"
    core.order(spawn_order(shim, ["echo", "x"], out=sink(shim, str(path), uid=65534, gid=65534, index=None)))
    core.expect("exited")
    entry = path.stat()
    assert (entry.st_uid, stat.S_IMODE(entry.st_mode), path.read_text()) == (65534, 0o640, "x\n")
    (tmp_path / "ours").mkdir(mode=0o700)
    report = refused(shim, core, str(tmp_path / "ours/f"), 2, uid=65534, gid=65534)
    assert (report["stage"], report["errno"]) == ("stdout", "EACCES")


def test_a_stream_is_switched_to_another_file_without_a_lost_byte(shim: Shim, core: Core, tmp_path: Path) -> None:
    core.order(spawn_order(shim, program("counter", 300, 1, 0.002)))
    ready(shim)
    core.order({"t": "sink", "key": "job:0", "run": 1, "out": sink(shim, str(tmp_path / "second"))})
    core.expect("exited")
    second = (tmp_path / "second").read_bytes()
    assert second
    assert output(shim) + second == numbers(300)
