"""What the checks may ask of the machine: files, users, groups, limits and the environment.

Decides nothing. One is made for each load, so that a thousand jobs of one user ask once; with `disk=False` no file is
read, as for the text of an editor.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
import stat
from collections.abc import Mapping
from functools import lru_cache

from taskmaster_core.config.envfile import Envfile
from taskmaster_core.config.source import LARGEST, Path, Source


class NotAFile(OSError):
    """Say that a path leads to a directory, a pipe or a device."""


class World:
    """Hold the machine as one load sees it, and what was read."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        privileged: bool,
        disk: bool = True,
        overlay: Mapping[str, bytes] | None = None,
    ) -> None:
        self.environ = environ
        self.privileged = privileged
        self.disk = disk
        self.euid = os.geteuid()
        self.texts: dict[str, bytes] = {}
        self.tried: dict[str, None] = {}
        """Every file that was wanted, in order, also one that is not there."""
        self._overlay = overlay or {}
        self._envfiles: dict[str, Envfile] = {}
        self.user = lru_cache(maxsize=None)(_user)
        self.group = lru_cache(maxsize=None)(_group)

    def read(self, path: str) -> tuple[bytes, os.stat_result | None]:
        """Return a file's bytes, at most one more than allowed, and its status; raise OSError.

        Opens without waiting, because a pipe in the place of a file would hold the caller for ever.
        """
        self.tried[path] = None
        if path in self._overlay:
            self.texts[path] = self._overlay[path]
            return self._overlay[path], None
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotAFile(0, "not a regular file", path)
            raw = file.read(LARGEST + 1)
        self.texts[path] = raw
        return raw, status

    def distrusted(self, status: os.stat_result | None) -> str:
        """Return why a file cannot be trusted by a core that is root, or "" (RELIABILITY C15)."""
        if status is None or not self.privileged or self.environ.get("TASKMASTER_TRUST_CONFIG") == "1":
            return ""
        if status.st_uid not in (0, self.euid):
            return f"it is owned by user {status.st_uid}, and the core is root"
        if status.st_mode & stat.S_IWOTH:
            return "everybody can write it, and the core is root"
        if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
            return f"group {status.st_gid} can write it, and the core is root"
        return ""

    def envfile(self, path: str, optional: bool, source: Source, spot: Path) -> dict[str, str]:
        """Return the variables of an envfile; report what is wrong with it."""
        if not self.disk:
            return {}
        if path not in self._envfiles:
            self._envfiles[path] = Envfile(path, self.read, self.distrusted)
        return self._envfiles[path].variables(optional, source, spot)

    def hard_limit(self, name: str) -> int | None:
        """Return the hard limit of this process; None means unlimited or unknown here."""
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        hard = resource.RLIM_INFINITY if number is None else resource.getrlimit(number)[1]
        return None if hard == resource.RLIM_INFINITY else hard

    def identity(self, uid: int | str | None) -> dict[str, str]:
        """Return HOME, USER, LOGNAME and SHELL of a user; empty when there is none of that name."""
        entry = self.user(uid) if uid is not None else None
        if entry is None:
            return {}
        return {
            "HOME": entry.pw_dir,
            "USER": entry.pw_name,
            "LOGNAME": entry.pw_name,
            "SHELL": entry.pw_shell or "/bin/sh",
        }


def _user(value: int | str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(value) if isinstance(value, int) else pwd.getpwnam(value)
    except KeyError:
        return None


def _group(value: int | str) -> grp.struct_group | None:
    try:
        return grp.getgrgid(value) if isinstance(value, int) else grp.getgrnam(value)
    except KeyError:
        return None
