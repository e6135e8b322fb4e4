"""The one place where a spec becomes an order of docs/shim-protocol.md."""

from __future__ import annotations

import os
from typing import Any

import pytest

from taskmaster_core import orders
from taskmaster_core.effects import Retune
from taskmaster_core.machine import KillTree, Signal, Spawn
from taskmaster_core.orders import CannotSpawn, Setting
from taskmaster_core.paths import Places
from taskmaster_core.spec import Key, LogSpec, Rlimit
from tests.samples import spec

KEY = Key("web", 2)
PLACES = Places("/state", "/run/here")
SETTING = Setting(PLACES, "test", {"PATH": "/bin"})
NOW = 1_764_000_000


def order(**changes: Any) -> dict[str, Any]:
    return orders.spawn_order(Spawn(KEY, 7, spec(**changes)), SETTING, NOW)


def test_spawn_carries_the_run_and_its_whole_environment() -> None:
    said = order(argv=("/bin/web", "{index}"), env={"A": "{name}"})
    assert (said["t"], said["key"], said["run"]) == ("spawn", "web:2", 7)
    assert said["argv"] == ["/bin/web", "2"]
    assert said["env"] == {
        "PATH": "/bin", "A": "web", "TASKMASTER_JOB": "web", "TASKMASTER_INDEX": "2", "TASKMASTER_RUN": "7",
        "TASKMASTER_INSTANCE": "test",
    }  # fmt: skip


def test_spawn_carries_the_recipe_by_which_the_shim_alone_would_stop_it() -> None:
    said = order(stop=[(2, 3.0), (15, 5.0)], killgroup=False)
    assert (said["stop"], said["killgroup"]) == ([[2, 3.0], [15, 5.0]], False)


def test_spawn_carries_umask_nice_limits_and_nobody_else_s_numbers() -> None:
    said = order(umask=0o22, nice=5, limits=(Rlimit("nofile", 10, None),))
    assert (said["umask"], said["nice"], said["limits"]) == (18, 5, [["nofile", 10, None]])
    assert (said["uid"], said["gid"], said["groups"]) == (None, None, None)


def test_managed_output_goes_to_the_state_directory_with_its_index_beside_it() -> None:
    out, err = order()["out"], order()["err"]
    path = PLACES.log_path("web", 2, "out")
    assert out == {
        "kind": "file", "path": path, "index": f"{path}.idx", "tag": "web:2", "maxsize": 10_000_000, "keep": 5,
        "direct": False, "full": "drop", "uid": None, "gid": None,
    }  # fmt: skip
    assert err["path"] == PLACES.log_path("web", 2, "err")


def test_redirected_output_has_its_own_settings_and_its_index_in_the_state_directory() -> None:
    out = order(stdout="/var/log/{name}.{index}")["out"]
    assert (out["path"], out["maxsize"], out["index"]) == (
        "/var/log/web.2", None, PLACES.index_path("/var/log/web.2"),
    )  # fmt: skip


@pytest.mark.parametrize("target", ["null", "inherit"])
def test_output_to_nowhere_or_to_the_shim_s_own(target: str) -> None:
    assert order(stdout=target)["out"] == {"kind": target}


def test_errors_may_go_where_the_output_goes() -> None:
    assert order(stderr="stdout")["err"] == {"kind": "out"}


def test_file_owned_by_the_job_is_made_as_its_user() -> None:
    said = order(uid=os.getuid(), log=LogSpec(owner="job"))
    assert (said["out"]["uid"], said["out"]["gid"]) == (said["uid"], said["gid"])


def test_unknown_user_cannot_be_spawned_and_says_so() -> None:
    with pytest.raises(CannotSpawn) as failed:
        order(uid="no-such-user-here")
    assert (failed.value.exit.stage, failed.value.exit.errno) == ("user", "ENOENT")
    assert "no-such-user-here" in str(failed.value)


def test_placeholder_without_a_value_cannot_be_spawned_and_says_so() -> None:
    with pytest.raises(CannotSpawn) as failed:
        order(argv=("/bin/web", "${NO_SUCH_VARIABLE}"))
    assert (failed.value.exit.stage, failed.value.exit.errno) == ("expand", "EINVAL")
    assert "NO_SUCH_VARIABLE" in failed.value.exit.message


def test_files_of_a_process_are_its_streams_that_go_to_one() -> None:
    assert list(orders.files_of(spec(stdout="null"), KEY, 1, SETTING, NOW)) == ["err"]
    assert orders.files_of(spec(argv=("${NO_SUCH_VARIABLE}",)), KEY, 1, SETTING, NOW) == {}


def test_signal_names_the_run_it_is_for() -> None:
    said = orders.signal_order(Signal(KEY, 7, 15, group=True, stopping=True))
    assert said == {"t": "signal", "key": "web:2", "run": 7, "sig": 15, "group": True, "stopping": True}


def test_kill_names_the_run_it_is_for() -> None:
    assert orders.kill_order(KillTree(KEY, 7, tree=True)) == {"t": "kill", "key": "web:2", "run": 7, "tree": True}


def test_live_change_is_a_recipe() -> None:
    (recipe,) = orders.retune_orders(Retune(KEY, 7, spec(nice=3), sinks=False), SETTING, NOW)
    assert recipe == {"t": "recipe", "key": "web:2", "run": 7, "stop": [[15, 10.0]], "killgroup": True, "nice": 3}


def test_live_change_of_output_switches_the_files_too() -> None:
    _, sink = orders.retune_orders(Retune(KEY, 7, spec(stdout="/x", stderr="null"), sinks=True), SETTING, NOW)
    assert (sink["t"], sink["key"], sink["run"], sink["out"]["path"]) == ("sink", "web:2", 7, "/x")
    assert "err" not in sink


def test_live_change_of_output_without_any_file_is_a_recipe_alone() -> None:
    said = orders.retune_orders(Retune(KEY, 7, spec(stdout="null", stderr="null"), sinks=True), SETTING, NOW)
    assert [each["t"] for each in said] == ["recipe"]
