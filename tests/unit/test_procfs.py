from __future__ import annotations

import os
import subprocess
import sys

import pytest

from taskmaster_core.groves import Reading, Root
from taskmaster_core.procfs import File, Files, resident, stat_in
from taskmaster_core.spec import Key
from taskmaster_core.trees import Descent, Trees
from tests.harness import wait_until


def own(files: Files) -> File:
    return files.open("/proc/self/stat")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_held_from_the_first_look_on_and_given_back() -> None:
    files, before = Files(3), descriptors()
    file = own(files)
    assert (descriptors(), files.room) == (before, 3)
    assert file.read() != b""
    assert (descriptors(), files.room) == (before + 1, 2)
    file.close()
    file.close()
    assert (descriptors(), files.room) == (before, 3)


def test_beyond_the_room_a_file_is_opened_for_each_look() -> None:
    files, before = Files(1), descriptors()
    held, other = own(files), own(files)
    assert held.read()
    assert other.read()
    assert other.read()
    assert (descriptors(), files.room) == (before + 1, 0)
    held.close()


def test_without_a_next_look_nothing_is_held() -> None:
    files, before = Files(5), descriptors()
    files.hold = False
    assert own(files).read()
    assert descriptors() == before


def test_a_file_that_is_not_there_holds_nothing() -> None:
    files, before = Files(5), descriptors()
    with pytest.raises(FileNotFoundError):
        files.open("/proc/self/nothing").read()
    assert (descriptors(), files.room) == (before, 5)


def test_a_long_file_is_read_to_its_end(tmp_path) -> None:
    path = tmp_path / "procs"
    path.write_bytes(b"4194303\n" * 40_000)
    assert len(Files(1).open(str(path)).read_all()) == 320_000


def test_a_held_file_tells_of_its_process_and_of_no_later_one() -> None:
    files = Files(5)
    with subprocess.Popen(["sleep", "1000"]) as child:
        file = files.open(f"/proc/{child.pid}/stat")
        assert stat_in(file.read()).seen.parent == os.getpid()
        child.kill()
    with pytest.raises(ProcessLookupError):
        file.read()
    file.close()


def test_resident_memory_is_in_bytes() -> None:
    assert 5 << 20 < resident(Files(0).open("/proc/self/statm")) < 5 << 30


# Trees, with this process in the place of the shim -------------------------------------------------------------------


def look(trees: Trees, *roots: Root) -> dict[Key, Reading]:
    found: dict[Key, Reading] = {}
    for _ in trees.look({Key("job", at): root for at, root in enumerate(roots)}, found):
        pass
    return found


FORKS = """
import os, sys, time
if os.fork() == 0:
    held = bytearray(b'x') * (30 << 20)
    print(flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("room", [100, 0])
def test_a_tree_is_its_leader_and_what_descends_from_it(room: int) -> None:
    before = descriptors()
    trees = Trees(os.getpid(), "t", room)
    with subprocess.Popen([sys.executable, "-ISc", FORKS], stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        root = Root(child.pid, 1)
        first, second = look(trees, root), look(trees, root)
        assert 30 << 20 < first[Key("job", 0)].rss < 90 << 20
        assert second[Key("job", 0)].used >= first[Key("job", 0)].used > 0
        os.killpg(child.pid, 9)
    wait_until(lambda: look(trees, root) == {}, what="init has reaped the orphan")
    trees.release()
    assert descriptors() == before


def test_a_run_that_is_no_longer_asked_for_holds_nothing() -> None:
    files = Files(100)
    descent = Descent(files, os.getpid(), "t")
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as child:
        root = Root(child.pid, 1)
        list(descent.look({root: Key("job", 0)}))
        assert [each for each in descent.read(root) if each is not None]
        assert files.room < 100
        list(descent.look({}))
        assert files.room == 100
        child.kill()
