from __future__ import annotations

import errno
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskmaster_core import watch as watching
from taskmaster_core.watch import Watch, files
from taskmaster_core.watch.bell import Bell, is_remote

DEBOUNCE = 0.06


class Seen(Watch):
    """Say when everything that happened so far was looked at."""

    busy = True

    def _wait(self) -> None:
        self.busy = False
        super()._wait()

    def _rings(self) -> bool:
        self.busy = True  # before anything is taken out of a descriptor: what is neither there nor here is done
        self.busy = super()._rings()
        return self.busy

    def is_done(self) -> bool:
        fds = [self._control, *([self._bell.fd] if self._bell is not None else [])]
        return not select.select(fds, [], [], 0)[0] and not self.busy


class Told:
    """Hold a watch over files and what it told."""

    def __init__(self, make_bell: Callable[[], Bell] = Bell) -> None:
        self.contents: list[dict[str, str]] = []
        self.missing: list[str] = []
        self.paths: list[str] = []
        self.watch = Seen(self._changed, self.missing.append, make_bell)

    def over(self, *paths: Path | str, debounce: float = DEBOUNCE, texts: dict[str, bytes] | None = None) -> Told:
        self.paths = [str(path) for path in paths]
        self.watch.set(self.paths, debounce, texts)
        return self

    def _changed(self) -> None:
        found = (Path(path) for path in self.paths)
        self.contents.append({path.name: path.read_text() for path in found if path.exists()})

    def until(self, done: Callable[[], bool], seconds: float = 10.0) -> None:
        limit = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < limit, f"it did not happen; told: {self.contents} missing: {self.missing}"
            time.sleep(0.005)

    def last_is(self, text: str) -> None:
        self.until(lambda: bool(self.contents) and text in self.contents[-1].values())

    def thread(self) -> threading.Thread:
        assert self.watch._thread is not None
        return self.watch._thread

    def settled(self) -> None:
        """Wait until everything that happened so far was looked at."""
        self.until(self.watch.is_done)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.watch.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "tm.toml"
    path.write_text("one")
    return path


def rename_over(path: Path, text: str) -> None:
    fresh = path.with_name("." + path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)


def vim(path: Path, text: str) -> None:
    path.rename(path.with_name(path.name + "~"))
    path.write_text(text)
    path.with_name(path.name + "~").unlink()


def sed(path: Path, text: str) -> None:
    subprocess.run(["sed", "-i", f"s/.*/{text}/", str(path)], check=True)


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def nano(path: Path, text: str) -> None:
    with path.open("r+") as file:
        file.write(text)
        file.truncate()
        os.fsync(file.fileno())


def remove_and_create(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


SAVES = [in_place, rename_over, vim, sed, nano, remove_and_create]


@pytest.mark.parametrize("save", SAVES)
def test_C04_each_way_to_save_is_told_once_and_for_ever(
    told: Told, config: Path, save: Callable[[Path, str], None]
) -> None:
    told.over(config)
    for number, text in enumerate(("two", "three", "four"), 1):
        save(config, text)
        told.last_is(text)
        told.settled()
        assert len(told.contents) == number
    assert told.missing == []


def test_C04_truncate_and_rewrite_is_told_whole(told: Told, config: Path) -> None:
    told.over(config, debounce=0.2)
    with config.open("w") as file:
        file.flush()
        time.sleep(0.03)
        file.write("tw")
        file.flush()
        time.sleep(0.03)
        file.write("o")
    told.last_is("two")
    assert told.contents == [{"tm.toml": "two"}]


def test_C04_a_writer_that_keeps_the_file_open_is_noticed(told: Told, config: Path) -> None:
    told.over(config)
    with config.open("a") as file:
        file.write(" and two")
        file.flush()
        told.last_is("one and two")


def test_C04_kubernetes_swap(told: Told, tmp_path: Path) -> None:
    for number, text in (("1", "one"), ("2", "two"), ("3", "three")):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "tm.toml").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "tm.toml").symlink_to("..data/tm.toml")
    told.over(tmp_path / "tm.toml")
    for number, text in (("2", "two"), ("3", "three")):
        (tmp_path / "..tmp").symlink_to(f"..{number}")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        told.last_is(text)
    assert len(told.contents) == 2


@pytest.mark.parametrize("save", SAVES)
def test_C04_the_target_of_a_symlink(
    told: Told, config: Path, tmp_path: Path, save: Callable[[Path, str], None]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.toml"
    link.symlink_to(config)
    told.over(link)
    for text in ("two", "three"):
        save(config, text)
        told.last_is(text)


def test_C04_a_link_to_a_directory_on_the_way(told: Told, tmp_path: Path) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "tm.toml").write_text(f"release {release}")
    (tmp_path / "current").symlink_to("1")
    told.over(tmp_path / "current" / "tm.toml")
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").replace(tmp_path / "current")
    told.last_is("release 2")
    (tmp_path / "2" / "tm.toml").write_text("release 2a")
    told.last_is("release 2a")


def test_C04_one_of_several_files(told: Told, config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("x")
    told.over(config, other)
    rename_over(other, "y")
    told.last_is("y")
    rename_over(config, "two")
    told.last_is("two")


def test_C05_directory_removed_and_made_again(told: Told, config: Path) -> None:
    told.over(config)
    for text in ("two", "three"):
        config.unlink()
        config.parent.rmdir()
        told.until(lambda: len(told.missing) > 0)
        told.settled()
        config.parent.mkdir()
        config.write_text(text)
        told.last_is(text)
        assert told.missing == [str(config)]
        told.missing.clear()


def test_C05_a_directory_above_is_renamed_away_and_replaced(told: Told, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "tm.toml").write_text("one")
    told.over(deep / "tm.toml")
    (tmp_path / "a").rename(tmp_path / "old")
    deep.mkdir(parents=True)
    (deep / "tm.toml").write_text("two")
    told.last_is("two")
    (deep / "tm.toml").write_text("three")
    told.last_is("three")


def test_C05_a_missing_file_is_said_once_and_told_when_it_is_back(told: Told, config: Path) -> None:
    told.over(config)
    config.unlink()
    told.until(lambda: told.missing == [str(config)])
    (config.parent / "tm.toml.swp").write_text("")
    told.settled()
    assert (told.missing, told.contents) == ([str(config)], [])
    config.write_text("two")
    told.last_is("two")


def test_C05_a_file_that_comes_back_as_it_was_is_no_change(told: Told, config: Path) -> None:
    told.over(config)
    config.unlink()
    told.until(lambda: told.missing == [str(config)])
    config.write_text("one")
    told.settled()
    assert told.contents == []
    config.unlink()
    told.until(lambda: len(told.missing) == 2)


def test_C06_a_hundred_saves_in_three_seconds(told: Told, config: Path) -> None:
    told.over(config, debounce=0.3)
    for number in range(100):
        rename_over(config, f"save {number}")
        time.sleep(0.03)
    told.last_is("save 99")
    assert len(told.contents) <= 3


@pytest.mark.parametrize("touch", [os.utime, lambda path: path.chmod(0o600), lambda path: path.write_text("one")])
def test_C07_what_changes_no_byte_is_silence(told: Told, config: Path, touch: Callable[[Path], object]) -> None:
    told.over(config)
    touch(config)
    told.settled()
    rename_over(config, "one")
    told.settled()
    assert told.contents == []
    config.write_text("two")
    told.last_is("two")


def test_a_change_that_is_taken_back_within_the_debounce_is_silence(told: Told, config: Path) -> None:
    told.over(config, debounce=0.2)
    config.write_text("two")
    config.write_text("one")
    told.settled()
    assert told.contents == []


def test_a_save_between_load_and_watch_is_noticed(told: Told, config: Path) -> None:
    told.over(config, texts={str(config): b"older"})
    told.last_is("one")


def test_what_was_loaded_is_no_change(told: Told, config: Path) -> None:
    told.over(config, texts={str(config): b"one"})
    told.settled()
    assert told.contents == []


def test_setting_the_same_files_again_loses_no_save(told: Told, config: Path) -> None:
    told.over(config, debounce=0.1)
    config.write_text("two")
    for _ in range(5):
        told.over(config, debounce=0.1, texts={str(config): b"one"})
        time.sleep(0.01)
    told.last_is("two")
    told.settled()
    assert len(told.contents) == 1


def test_what_was_told_is_told_again_if_something_else_was_loaded_since(told: Told, config: Path) -> None:
    told.over(config)
    config.write_text("broken")
    told.last_is("broken")
    told.over(config, texts={str(config): b"one"})
    told.until(lambda: len(told.contents) == 2)


def test_a_file_that_was_missing_when_it_was_to_be_loaded_is_told_when_it_is_back(told: Told, config: Path) -> None:
    told.over(config)
    config.unlink()
    told.until(lambda: told.missing == [str(config)])
    told.over(config, texts={"another": b""})
    told.settled()
    config.write_text("one")
    told.last_is("one")


def test_C05_a_directory_that_somebody_still_is_in_is_watched_again(told: Told, tmp_path: Path) -> None:
    place = tmp_path / "etc"
    place.mkdir()
    (place / "t.toml").write_text("one")
    told.over(place / "t.toml")
    held = os.open(place, os.O_RDONLY)  # as a job whose working directory it is
    try:
        (place / "t.toml").unlink()
        told.until(lambda: told.missing != [])
        told.settled()
        place.rmdir()
        told.settled()
        place.mkdir()
        (place / "t.toml").write_text("two")
        told.last_is("two")
    finally:
        os.close(held)


def test_files_can_change_between_loads(told: Told, config: Path, tmp_path: Path) -> None:
    other = tmp_path / "conf.d" / "a.toml"
    other.parent.mkdir()
    other.write_text("a")
    told.over(config)
    told.over(config, other)
    told.settled()
    other.write_text("b")
    told.last_is("b")
    told.over(config)
    told.settled()
    other.write_text("c")
    told.settled()
    assert len(told.contents) == 1


def test_no_files_are_watched_in_peace(told: Told, config: Path) -> None:
    told.over(config)
    told.over()
    told.settled()
    config.write_text("two")
    told.settled()
    assert told.contents == []


def test_a_new_file_that_a_pattern_covers_is_a_change(told: Told, config: Path, tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    first = tmp_path / "conf.d" / "a.toml"
    first.write_text("a")
    told.over(config, tmp_path / "conf.d" / "*.toml", first)
    (tmp_path / "conf.d" / "notes.txt").write_text("")
    told.settled()
    assert told.contents == []
    (tmp_path / "conf.d" / "b.toml").write_text("b")
    told.until(lambda: len(told.contents) == 1)
    first.unlink()
    told.until(lambda: len(told.contents) == 2)
    assert told.missing == []


def test_a_pattern_whose_directory_comes_later_is_watched(told: Told, config: Path, tmp_path: Path) -> None:
    told.over(config, tmp_path / "conf.d" / "*.toml")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "b.toml").write_text("b")
    told.until(lambda: len(told.contents) == 1)


def test_a_file_that_cannot_be_read_is_a_change_for_the_loader_to_judge(told: Told, config: Path) -> None:
    told.over(config)
    config.unlink()
    os.mkfifo(config)
    told.paths = []
    told.until(lambda: len(told.contents) == 1)


def _switches(thread: threading.Thread) -> list[str]:
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return [line for line in status.splitlines() if "ctxt_switches" in line]


def _woken(thread: threading.Thread) -> int:
    return sum(int(line.split()[1]) for line in _switches(thread))


def test_idle_it_sleeps_also_beside_a_growing_log(told: Told, config: Path) -> None:
    with (config.parent / "app.log").open("w") as log:
        told.over(config)
        told.settled()

        def sleeps_through() -> bool:
            before = _woken(told.thread())
            for _ in range(100):
                log.write("line\n")
                log.flush()
                time.sleep(0.01)
            return _woken(told.thread()) == before

        told.until(sleeps_through)  # a loaded machine may wake a thread for its own ends once, the log never may


def test_it_sleeps_again_after_a_save(told: Told, config: Path) -> None:
    told.over(config)
    threads = set(os.listdir("/proc/self/task"))
    config.write_text("two")
    told.last_is("two")
    told.settled()
    told.until(lambda: set(os.listdir("/proc/self/task")) <= threads)  # watchfiles' own lives for a burst only

    def sleeps() -> bool:
        before = _woken(told.thread())
        time.sleep(0.5)
        return _woken(told.thread()) == before

    told.until(sleeps)


def test_closing_leaves_no_descriptor_and_no_thread(config: Path) -> None:
    Told().over(config).watch.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        made = Told().over(config)
        config.write_text(f"{time.monotonic()}")
        made.watch.close()
        assert not made.thread().is_alive()
    made.until(lambda: len(os.listdir("/proc/self/fd")) <= before)  # watchfiles' thread closes its own a moment later


def _no_bell() -> Bell:
    raise OSError(errno.EMFILE, "Too many open files", "inotify")


def test_C19_without_inotify_it_polls_and_says_so(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_EVERY", 0.05)
    told = Told(_no_bell).over(config)
    try:
        assert "Too many open files" in told.watch.trouble
        rename_over(config, "two")
        told.last_is("two")
        config.unlink()
        told.until(lambda: told.missing == [str(config)])
        config.write_text("three")
        told.last_is("three")
    finally:
        told.watch.close()


def test_C19_when_the_kernel_has_no_more_watches_it_polls(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Bell):
        def arm(self, directories, files):
            raise OSError(errno.ENOSPC, "No space left on device", str(config.parent))

    monkeypatch.setattr(watching, "POLL_EVERY", 0.05)
    told = Told(Refusing).over(config)
    try:
        assert "No space left" in told.watch.trouble
        config.write_text("two")
        told.last_is("two")
    finally:
        told.watch.close()


def test_C19_inotify_that_comes_back_ends_the_trouble(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [_no_bell, _no_bell]
    monkeypatch.setattr(watching, "POLL_EVERY", 0.05)
    told = Told(lambda: left.pop()() if left else Bell()).over(config)
    try:
        assert told.watch.trouble
        config.write_text("two")
        told.last_is("two")
        told.until(lambda: told.watch.trouble == "")
    finally:
        told.watch.close()


def test_a_network_file_system_is_polled_too(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_EVERY", 0.05)
    monkeypatch.setattr(watching, "is_remote", lambda path: True)

    class Deaf(Bell):
        def rang(self) -> bool:
            super().rang()
            return False

    told = Told(Deaf).over(config)
    try:
        config.write_text("two")
        told.last_is("two")
        assert told.watch.trouble == ""
    finally:
        told.watch.close()


def test_a_local_directory_is_not_remote(tmp_path: Path) -> None:
    assert not is_remote(str(tmp_path))
    assert not is_remote(str(tmp_path / "none"))


def test_lost_events_ring(config: Path) -> None:
    bell = Bell()
    assert bell._matters(b"\xff\xff\xff\xff" + bytes(12))
    bell.close()


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    directories, _ = files.routes([str(tmp_path / "a")])
    assert directories[str(tmp_path)] == {"a", "b"}


def test_the_way_goes_up_and_over_relative_links(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "t").write_text("")
    (tmp_path / "x" / "t").symlink_to("./../y/t")
    directories, ends = files.routes([str(tmp_path / "x" / "t")])
    assert directories[str(tmp_path / "x")] == {"t"}
    assert directories[str(tmp_path / "y")] == {"t"}
    assert ends == {str(tmp_path / "y" / "t")}


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(10 << 30)
    before = files.digests([str(big)])
    with big.open("ab") as file:
        file.write(b"x")
    assert files.digests([str(big)]) != before
