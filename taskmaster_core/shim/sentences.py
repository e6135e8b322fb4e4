"""Why a program could not be started, in a sentence a person can act on.

Decides words only; the stage and the errno are facts already. The child calls it just before it gives up, with the
rights of the job, so that a path that hangs hangs nobody else.
"""

from __future__ import annotations

import errno
import os
import stat

_STAGES = {
    "chdir": "the working directory cannot be entered",
    "limits": "a resource limit cannot be set",
    "nice": "the niceness cannot be set",
    "groups": "the groups cannot be set",
    "gid": "the group cannot be set",
    "uid": "the user cannot be set",
    "stdin": "the input file cannot be opened",
    "stdout": "the output file cannot be opened",
    "stderr": "the error output file cannot be opened",
    "fork": "no new process can be made",
    "lock": "the lock file of the process cannot be taken",
    "terminal": "its terminal cannot be made",
    "fifo": "the channel for its output cannot be made",
    "cgroup": "its control group cannot be entered",
}


def name_of(code: int) -> str:
    """Return the symbolic name of an errno."""
    return errno.errorcode.get(code, f"E{code}")


def sentence(stage: str, code: int, what: str) -> str:
    """Return one sentence; `what` is the path or the detail that the stage was about."""
    if stage == "exec":
        return _exec(code, what)
    reason = os.strerror(code)
    head = _STAGES.get(stage, f"the set-up stopped at {stage}")
    return f"{head}: {reason}: {what}" if what not in ("", reason) else f"{head}: {reason}"


def _exec(code: int, path: str) -> str:
    shown = f"'{path}'"
    if code == errno.ENOENT:
        return _missing(path, shown)
    if code == errno.EACCES:
        return _forbidden(path, shown)
    if code == errno.ENOEXEC:
        return _unknown_format(path, shown)
    if code == errno.E2BIG:
        return f"the arguments and environment together are too long for the system: {shown}"
    if code == errno.ETXTBSY:
        return f"the program is being written by somebody at this moment: {shown}"
    return f"{os.strerror(code)}: {shown}"


def _missing(path: str, shown: str) -> str:
    if not os.path.lexists(path) or "/" not in path:
        where = "" if "/" in path else " (looked in the PATH of the job)"
        return f"No such file or directory: {shown}{where}"
    interpreter = _interpreter(path)
    if interpreter:
        hint = " (the line ends in a carriage return)" if interpreter.endswith("\r") else ""
        return f"the interpreter {interpreter!r} named in the first line of {shown} does not exist{hint}"
    if os.path.islink(path) and not os.path.exists(path):
        return f"{shown} is a symbolic link to a file that does not exist: '{os.readlink(path)}'"
    return f"{shown} exists, but the loader or library it asks for does not"


def _forbidden(path: str, shown: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return f"Permission denied: {shown} (a directory on the way to it may not be searched)"
    if stat.S_ISDIR(mode):
        return f"{shown} is a directory, not a program"
    if not stat.S_ISREG(mode):
        return f"{shown} is not a regular file and cannot be run"
    if not mode & 0o111:
        return f"{shown} is not executable (chmod +x would make it so)"
    interpreter = _interpreter(path)
    if interpreter and not os.access(interpreter, os.X_OK):
        return f"the interpreter '{interpreter}' named in the first line of {shown} may not be run"
    return f"Permission denied: {shown} (by its mode, or its file system is mounted noexec)"


def _unknown_format(path: str, shown: str) -> str:
    head = _head(path)
    if head.startswith(b"\x7fELF"):
        return f"{shown} is a program for another kind of machine"
    if not head:
        return f"{shown} is empty"
    return f"{shown} has no #! line and is no binary; give it one, or set shell = true"


def _interpreter(path: str) -> str:
    head = _head(path)
    if not head.startswith(b"#!"):
        return ""
    line = head[2:].split(b"\n", 1)[0]
    words = line.strip(b" \t").split(None, 1) if not line.endswith(b"\r") else [line.strip(b" \t")]
    return words[0].decode("utf-8", "surrogateescape") if words else ""


def _head(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 256) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
