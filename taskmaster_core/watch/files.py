"""What a list of config paths means on disk: which directories can change it, and what the files hold now.

It decides by looking, remembers nothing, and waits for nothing. The watching thread asks it.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256

from taskmaster_core.watch.bell import ANY

MISSING = ""
"""The digest of a file that is not there."""

READ = 2 << 20
"""Bytes of a file that are looked at; a config may have half as many."""

_MOST_LINKS = 40  # as the kernel


def split(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the plain paths and the patterns; a path that a pattern covers may go without being missed."""
    patterns = [path for path in paths if glob.has_magic(path) and not os.path.lexists(path)]
    plain = [path for path in paths if path not in patterns and not any(fnmatchcase(path, each) for each in patterns)]
    return plain, patterns


def digests(paths: Sequence[str]) -> dict[str, str]:
    """Return what each file holds, as a digest, or MISSING."""
    plain, patterns = split(paths)
    found = {path: _digest(path) for path in plain}
    for pattern in patterns:
        found |= {path: digest for path in glob.glob(pattern) if (digest := _digest(path)) != MISSING}
    return found


def digest_of(text: bytes) -> str:
    """Return the digest of a file that holds this."""
    return sha256(text[:READ]).hexdigest() + f":{len(text)}"


def _digest(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"cannot be opened: {error.errno}"
    with os.fdopen(fd, "rb") as file:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode):
            return "not a file"
        try:
            text = file.read(READ)
        except OSError as error:
            return f"cannot be read: {error.errno}"
    return sha256(text).hexdigest() + f":{max(seen.st_size, len(text))}"


def stamps(paths: Sequence[str]) -> list[tuple[str, int, int, int]]:
    """Return what stat tells of the files, for polling without reading."""
    plain, patterns = split(paths)
    found = []
    for path in sorted([*plain, *(each for pattern in patterns for each in glob.glob(pattern))]):
        try:
            seen = os.stat(path)
            found.append((path, seen.st_ino, seen.st_size, seen.st_mtime_ns))
        except OSError as error:
            found.append((path, 0, 0, error.errno or 0))
    return found


def routes(paths: Sequence[str]) -> tuple[dict[str, set[str]], set[str]]:
    """Return the directories on the way, with the names in each that matter, and the files at the end.

    Every symlink on the way is a name that matters (a k8s `..data`, a `current` release), so is the first step that
    does not exist: the way may lead elsewhere tomorrow.
    """
    directories: dict[str, set[str]] = {}
    files: set[str] = set()
    plain, patterns = split(paths)
    for pattern in patterns:
        plain += glob.glob(pattern)
        for directory in _directories(os.path.dirname(pattern)):
            plain.append(directory)
            directories.setdefault(os.path.realpath(directory), set()).add(ANY)
    for path in plain:
        for directory, name in _steps(os.path.abspath(path)):
            directories.setdefault(directory, set()).update((name,) if name else ())
        files.add(os.path.realpath(path))
    return directories, files


def _directories(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return [pattern]
    above = _directories(os.path.dirname(pattern))
    return [*above, *(each for each in glob.glob(pattern) if os.path.isdir(each))]


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Give each directory on the way, with the name in it that could turn the way, or ""."""
    ahead = [part for part in reversed(path.split("/")) if part]
    here, links = "/", 0
    while ahead:
        name = ahead.pop()
        if name in (".", ".."):
            here = os.path.dirname(here) if name == ".." else here
            continue
        there = os.path.join(here, name)
        try:
            target = os.readlink(there)
        except FileNotFoundError:
            yield here, name
            return
        except OSError:  # EINVAL: not a link
            yield here, "" if ahead else name
            here = there
            continue
        yield here, name
        links += 1
        if links > _MOST_LINKS:
            return
        here = "/" if target.startswith("/") else here
        ahead += [part for part in reversed(target.split("/")) if part]
