from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core import paths
from taskmaster_core.errors import Refused, UsageError
from taskmaster_core.paths import Places, decode, encode, make_private, places, where_to_look

ME = os.getuid()
LONG = "/x" + "y" * 100


def test_root_without_a_session_lives_below_run_and_var_lib() -> None:
    assert places("default", {}, 0) == Places("/var/lib/taskmaster/default", "/run/taskmaster/default")


def test_xdg_directories_rule_also_for_root() -> None:
    env = {"XDG_RUNTIME_DIR": "/run/user/0/", "XDG_STATE_HOME": "/s"}
    assert places("a", env, 0) == Places("/s/taskmaster/a", "/run/user/0/taskmaster/a")


def test_a_relative_xdg_directory_is_ignored() -> None:
    env = {"XDG_RUNTIME_DIR": "here", "XDG_STATE_HOME": "there"}
    assert places("a", env, 0) == places("a", {}, 0)


def test_a_user_keeps_state_below_home() -> None:
    assert (
        places("a", {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/r"}, 4242).statedir == "/home/u/.local/state/taskmaster/a"
    )


def test_a_user_without_any_home_is_refused_with_a_remedy() -> None:
    with pytest.raises(Refused) as caught:
        places("a", {"XDG_RUNTIME_DIR": "/r"}, 3_999_999_999)
    assert "statedir" in caught.value.help


def test_the_statedir_setting_is_taken_as_it_is() -> None:
    assert places("a", {}, 0, statedir="/data/tm").statedir == "/data/tm"


def test_a_user_without_a_session_directory_falls_back_below_tmpdir() -> None:
    got = places("a", {"HOME": "/h", "TMPDIR": "/mytmp"}, 4_000_000)
    assert os.path.dirname(got.rundir) == "/mytmp/taskmaster-4000000"


def test_P15_a_too_long_socket_path_falls_back_to_a_short_one() -> None:
    got = places("a", {"XDG_RUNTIME_DIR": LONG}, 0)
    assert got.rundir.startswith("/tmp/taskmaster-0/")
    assert max(len(got.commands), len(got.events)) <= paths.SUN_PATH


def test_P15_a_too_long_tmpdir_is_passed_over() -> None:
    assert places("a", {"XDG_RUNTIME_DIR": LONG, "TMPDIR": LONG}, 0).rundir.startswith("/tmp/taskmaster-0/")


def test_P15_the_longest_path_that_fits_is_kept() -> None:
    room = paths.SUN_PATH - len("/taskmaster/a/cmd.sock")
    assert places("a", {"XDG_RUNTIME_DIR": "/" + "y" * (room - 1)}, 0).rundir.startswith("/y")
    assert places("a", {"XDG_RUNTIME_DIR": "/" + "y" * room}, 0).rundir.startswith("/tmp")


def test_P15_a_client_with_the_same_environment_looks_where_the_core_fell_back_to() -> None:
    env = {"XDG_RUNTIME_DIR": LONG, "TMPDIR": "/short"}
    assert where_to_look("a", env, 0)[0] == places("a", env, 0).commands


def test_clients_look_at_the_session_then_the_system() -> None:
    look = where_to_look("a", {"XDG_RUNTIME_DIR": "/r", "TMPDIR": "/nowhere"}, 0)
    assert look[:2] == ["/r/taskmaster/a/cmd.sock", "/run/taskmaster/a/cmd.sock"]


def test_a_client_finds_the_fallback_of_a_core_that_had_no_session_directory() -> None:
    with TemporaryDirectory(dir="/tmp") as short:  # a TMPDIR as long as pytest's would be passed over
        (Path(short) / f"taskmaster-{ME}").mkdir()
        look = where_to_look("a", {"TMPDIR": short}, ME)
    assert any(each.startswith(f"{short}/taskmaster-{ME}/") for each in look)


def test_a_client_passes_over_a_fallback_of_somebody_else() -> None:
    with TemporaryDirectory(dir="/tmp") as short:
        (Path(short) / f"taskmaster-{ME + 1}").mkdir()
        look = where_to_look("a", {"TMPDIR": short}, ME + 1)
    wished = [f"/run/user/{ME + 1}/taskmaster/a/cmd.sock", "/run/taskmaster/a/cmd.sock"]
    assert look == wished


def test_a_socket_named_by_hand_is_the_only_one(tmp_path: Path) -> None:
    assert where_to_look("a", {}, 0, "/x/cmd.sock") == ["/x/cmd.sock"]
    assert where_to_look("a", {}, 0, str(tmp_path)) == [f"{tmp_path}/cmd.sock"]


def test_the_event_socket_lies_beside_the_command_socket() -> None:
    assert paths.events_beside("/x/cmd.sock") == "/x/evt.sock"


@pytest.mark.parametrize("name", ["", ".", "..", "-a", ".a", "a/b", "a b", "x" * 65, "a\n", "ä"])
def test_bad_instance_names_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError):
        places(name, {}, 0)
    with pytest.raises(UsageError):
        where_to_look(name, {}, 0)


def test_files_of_an_instance_have_their_documented_names() -> None:
    at = Places("/s", "/r")
    assert (at.commands, at.events, at.lock) == ("/r/cmd.sock", "/r/evt.sock", "/s/shim.lock")
    assert (at.journal, at.eventlog, at.generations) == ("/s/journal.db", "/s/taskmaster.log", "/s/generations")
    assert at.log_path("write bar", 3, "out") == "/s/logs/write%20bar/3.out"
    assert at.index_path("/tmp/x") != at.index_path("/tmp/y")
    assert os.path.dirname(at.index_path("/tmp/x")) == "/s/index"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("web", "web"),
        ("write bar", "write%20bar"),
        (".", "%2E"),
        ("..", "%2E."),
        ("a/b", "a%2Fb"),
        ("ä", "%C3%A4"),
        ("50%", "50%25"),
    ],
)
def test_names_are_percent_encoded(name: str, file: str) -> None:
    assert encode(name) == file
    assert decode(file) == name


@given(st.text(min_size=1, max_size=64))
def test_C11_every_name_makes_one_safe_file_name(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return
    file = encode(name)
    assert file not in ("", ".", "..")
    assert "/" not in file
    assert file.isascii()
    assert len(file) <= paths.NAME_BYTES
    assert decode(file) in (name, None)


def test_C11_long_names_that_differ_at_the_end_stay_different() -> None:
    one, two = encode("\N{GRINNING FACE}" * 63 + "a"), encode("\N{GRINNING FACE}" * 63 + "b")
    assert one != two
    assert decode(one) is None


@pytest.mark.parametrize("text", ["%zz", "a%2", "ä", "%41", ".x", "%~0123"])
def test_what_encode_did_not_write_decodes_to_none(text: str) -> None:
    assert decode(text) is None


def test_a_private_directory_is_0700_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_private(str(tmp_path / "a" / "taskmaster" / "default"), ME)
    finally:
        os.umask(old)
    assert (tmp_path / "a/taskmaster/default").stat().st_mode & 0o7777 == 0o700


def test_a_socket_group_may_enter(tmp_path: Path) -> None:
    make_private(str(tmp_path / "taskmaster" / "i"), ME, os.getgid())
    assert (tmp_path / "taskmaster" / "i").stat().st_mode & 0o7777 == 0o750
    assert (tmp_path / "taskmaster").stat().st_mode & 0o7777 == 0o711


def test_making_a_private_directory_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        make_private(str(tmp_path / "taskmaster" / "i"), ME)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o701])
def test_S12_a_directory_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i").chmod(mode)
    with pytest.raises(Refused) as caught:
        make_private(str(tmp_path / "i"), ME)
    assert "chmod 700" in caught.value.help


def test_S12_a_parent_that_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taskmaster-1").mkdir()
    (tmp_path / "taskmaster-1").chmod(0o777)
    with pytest.raises(Refused):
        make_private(str(tmp_path / "taskmaster-1" / "i"), ME)


def test_S12_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    make_private(str(tmp_path / "i"), ME)
    with pytest.raises(Refused, match="belongs to user"):
        make_private(str(tmp_path / "i"), ME + 1)


def test_S12_a_group_directory_of_another_user_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir(mode=0o700)
    with pytest.raises(Refused, match="belongs to user"):
        make_private(str(tmp_path / "i"), ME + 1, os.getgid())
    assert (tmp_path / "i").stat().st_mode & 0o7777 == 0o700


def test_S12_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "i").symlink_to("real")
    with pytest.raises(Refused, match="not a directory"):
        make_private(str(tmp_path / "i"), ME)


def test_a_file_where_a_directory_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(Refused, match="cannot make"):
        make_private(str(tmp_path / "f" / "g" / "i"), ME)


def _mounts(tmp_path: Path, *lines: str) -> str:
    (tmp_path / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    return str(tmp_path / "mountinfo")


def test_a_network_file_system_is_recognised_by_the_nearest_mount(tmp_path: Path) -> None:
    mounts = _mounts(
        tmp_path,
        "1 0 8:1 / / rw - ext4 /dev/a rw",
        "2 1 0:9 / /net\\040home rw shared:1 - nfs4 srv:/x rw",
        "3 2 8:2 / /net\\040home/local rw - xfs /dev/b rw",
    )
    assert paths.network_filesystem("/net home/u/state", mounts) == "nfs4"
    assert paths.network_filesystem("/net home/local/state", mounts) is None
    assert paths.network_filesystem("/net homely", mounts) is None


def test_a_mount_over_a_mount_hides_it(tmp_path: Path) -> None:
    mounts = _mounts(tmp_path, "1 0 0:1 / /s rw - nfs a rw", "2 1 0:2 / /s rw - tmpfs b rw")
    assert paths.network_filesystem("/s/x", mounts) is None


def test_a_state_directory_on_the_network_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.refuse_network(str(tmp_path))
    monkeypatch.setattr(paths, "network_filesystem", lambda path: "nfs")
    with pytest.raises(Refused) as caught:
        paths.refuse_network("/s")
    assert "statedir" in caught.value.help


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, taskmaster_core.paths; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"hashlib", "pathlib", "platformdirs", "psutil", "msgspec", "sqlite3"} & set(loaded)
