"""Who a job runs as: names to numbers, groups, and the variables that follow."""

from __future__ import annotations

import os
import pwd

import pytest

from taskmaster_core.users import Identity, UnknownUser, group_number, identify

ROOT = pwd.getpwuid(0)


def test_a_job_without_uid_and_gid_is_the_cores_own() -> None:
    assert identify(None, None) == Identity()


@pytest.mark.parametrize("uid", [0, "root"])
def test_a_user_brings_groups_and_variables(uid: int | str) -> None:
    who = identify(uid, None)
    assert (who.uid, who.gid, who.groups) == (0, ROOT.pw_gid, os.getgrouplist("root", ROOT.pw_gid))
    assert who.env["HOME"] == ROOT.pw_dir
    assert (who.env["USER"], who.env["LOGNAME"]) == ("root", "root")


def test_a_gid_of_its_own_replaces_the_users() -> None:
    assert identify("root", 12345).gid == 12345


def test_a_number_without_a_name_has_no_other_groups() -> None:
    assert identify(54321, None) == Identity(54321, 54321, [54321], {})


def test_a_gid_alone_changes_only_the_group() -> None:
    assert identify(None, 7) == Identity(gid=7)


def test_L18_an_unknown_user_is_never_root() -> None:
    with pytest.raises(UnknownUser, match="no user named 'nosuch'"):
        identify("nosuch", None)


def test_L18_an_unknown_group_is_told() -> None:
    with pytest.raises(UnknownUser, match="no group named 'nosuch'"):
        group_number("nosuch")
