"""Look users and groups up: names to numbers, and the environment that goes with a user.

Decides nothing but who somebody is. The daemon calls it at every spawn of a job with `uid` or `gid`, in the core and
never in the shim or after a fork: NSS may load libraries and ask the network (RELIABILITY §6, 12).
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple


class UnknownUser(LookupError):
    """Tell which user or group does not exist."""


class Identity(NamedTuple):
    """Hold the numbers a run shall have (None: the shim's own) and the variables that follow a user."""

    uid: int | None = None
    gid: int | None = None
    groups: list[int] | None = None
    env: Mapping[str, str] = MappingProxyType({})


def _user(uid: int | str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid) if isinstance(uid, int) else pwd.getpwnam(uid)
    except KeyError:
        if isinstance(uid, int):
            return None  # a number needs no name
        raise UnknownUser(f"there is no user named {uid!r}") from None


def group_number(gid: int | str) -> int:
    """Return a group's number; raise UnknownUser for a name nobody has. Digits are a number, as in the config."""
    if isinstance(gid, int) or gid.isdigit():
        return int(gid)
    try:
        return grp.getgrnam(gid).gr_gid
    except KeyError:
        raise UnknownUser(f"there is no group named {gid!r}") from None


def members(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield ("user", uid) or, for names behind an @, ("group", gid); who does not exist any more has no role."""
    for name in names:
        with suppress(UnknownUser):
            if name.startswith("@"):
                yield "group", group_number(name[1:])
            else:
                user = None if name.isdigit() else _user(name)
                yield "user", int(name) if user is None else user.pw_uid


def identify(uid: int | str | None, gid: int | str | None) -> Identity:
    """Return the identity for a job's `uid` and `gid`; raise UnknownUser."""
    if uid is None:
        return Identity(gid=group_number(gid)) if gid is not None else Identity()
    user = _user(uid)
    if user is None:
        number = uid if isinstance(uid, int) else 0
        group = group_number(gid) if gid is not None else number
        return Identity(number, group, [group], {})
    group = group_number(gid) if gid is not None else user.pw_gid
    env = {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": user.pw_shell or "/bin/sh"}
    return Identity(user.pw_uid, group, os.getgrouplist(user.pw_name, group), env)
