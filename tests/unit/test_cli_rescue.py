from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from taskmaster_core import paths
from taskmaster_core.cli import rescue
from taskmaster_core.client import probe
from taskmaster_core.reach import holder
from tests.fakecore import FakeCore, status
from tests.unit.conftest import Cli


@pytest.fixture
def lock(fake: FakeCore, cli: Cli) -> Path:
    """The core's sockets are gone; the test may take the instance's lock."""
    fake.stop()
    fake.until(lambda: probe(fake.commands) is not None)
    Path(fake.commands).unlink(missing_ok=True)
    path = Path(paths.places("default", os.environ, os.geteuid()).lock)
    path.parent.mkdir(parents=True)
    return path


def test_a_lock_nobody_holds_means_no_core(lock: Path) -> None:
    lock.write_text("123\n")
    assert holder(str(lock)) is None
    assert rescue.rebound("default", []) is None


def test_the_holder_of_the_lock_is_told(lock: Path) -> None:
    with lock.open("w") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holder(str(lock)) == 4711


def test_a_core_that_just_starts_is_waited_for(lock: Path, fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status())
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Timer(0.1, fake.start)
        thread.start()
        assert cli("status").status == 0
        thread.join()


def test_a_shim_is_asked_to_have_its_sockets_bound_again(lock: Path, fake: FakeCore, cli: Cli, tmp_path: Path) -> None:
    fake.on("status", status())
    asked, ready = tmp_path / "asked", tmp_path / "ready"
    script = (
        "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: open(sys.argv[1], 'w').close() or sys.exit());"
        "open(sys.argv[2], 'w').close(); signal.pause()"
    )
    words = [sys.executable, "-I", "-c", script, str(asked), str(ready), "/x/taskmaster_core/shim"]
    with subprocess.Popen(words) as shim, lock.open("w") as file:
        fake.until(ready.exists)
        file.write(f"{shim.pid}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: (fake.until(asked.exists), fake.start()))
        thread.start()
        assert cli("status").status == 0
        thread.join()


def test_the_lock_is_looked_for_where_the_config_says(lock: Path, fake: FakeCore, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "taskmaster.toml").write_text('[taskmaster]\nstatedir = "state"\n')
    with (tmp_path / "state" / "shim.lock").open("w") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert rescue.holders("default", []) == [4711]


def test_a_core_that_is_being_replaced_is_waited_for(lock: Path, fake: FakeCore, cli: Cli) -> None:
    """It died and left its socket; nobody listens there until the next one binds it."""
    with socket.socket(socket.AF_UNIX) as dead:
        Path(fake.commands).unlink(missing_ok=True)
        dead.bind(fake.commands)
    fake.on("status", status())
    thread = threading.Timer(0.1, fake.start)
    thread.start()
    assert cli("status").status == 0
    thread.join()


def test_a_stranger_is_never_signalled(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pid of another namespace may be anybody's here."""
    monkeypatch.setattr(rescue, "PATIENCE", 0.1)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger, lock.open("w") as file:
        file.write(f"{stranger.pid}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert rescue.rebound("default", []) is None
        assert stranger.poll() is None
        stranger.kill()
