"""What the words of other process managers are called here, key and value, and which of our own words is nearest.

Knows supervisord, circus, process-compose, docker compose, systemd, pm2 and the school project's first program.
Decides nothing: the checks turn what it returns into "did you mean", `check --fix` into an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from msgspec import Struct

LATER: dict[str, str] = {
    "dependson": "start order and dependencies",
    "ready": "readiness probes",
    "alive": "health probes",
    "schedule": "schedules",
    "watch": "restart on file changes",
    "rolling": "rolling restarts",
    "hooks": "hooks",
}
"""Keys of a task that this version refuses by name."""


class Hint(Struct, frozen=True):
    """Say what a foreign key is here: our key (None: there is none), its value, and a sentence."""

    key: str | None
    value: str | None = None
    """TOML source; None when the value cannot be translated or may stay."""
    note: str = ""
    keeps: bool = False
    """The value may stay as it stands."""


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant, or None."""
    if len(word) > 64:
        return None
    known = list(words)
    folded = word.lower().replace("_", "").replace("-", "")
    exact = next((each for each in known if each.lower().replace("-", "").replace("_", "") == folded), None)
    return exact or next(iter(get_close_matches(word, known, n=1, cutoff=0.65)), None)


def quoted(value: str) -> str:
    """Return text as a TOML string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    plain = "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in escaped)
    return f'"{plain}"'


def _plain(value: Any) -> str | None:
    """Return a scalar as TOML source."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    return str(value) if isinstance(value, int | float) and abs(value) < 1e15 else None


_RESTARTS = {
    "unexpected": "on-error", "on-failure": "on-error", "on-abnormal": "on-error", "on_failure": "on-error",
    "exit_on_failure": "on-error", "true": "always", "unless-stopped": "always", "yes": "always", "always": "always",
    "false": "never", "no": "never", "never": "never",
}  # fmt: skip
RESTARTS = _RESTARTS
"""What restart policies of other programs are called here."""


def _restart(value: Any) -> str | None:
    ours = _RESTARTS.get(str(value).lower()) if isinstance(value, str | bool) else None
    return quoted(ours) if ours else None


def _output(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return quoted({"AUTO": "log", "NONE": "null", "/dev/null": "null", "journal": "log"}.get(value, value))


def _joined(value: Any) -> str | None:
    return quoted("stdout") if value is True else quoted("log") if value is False else None


def _milliseconds(value: Any) -> str | None:
    return (
        quoted(f"{value}ms") if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1e12 else None
    )


def _pairs(value: Any) -> list[tuple[str, str]] | None:
    """Read `A=1,B="2"`, or a list of `A=1`."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) and "=" in part for part in parts):
        return None
    split = [part.strip().partition("=") for part in parts]
    return [(name.strip(), text.strip().strip("\"'")) for name, _, text in split]


def _environment(value: Any) -> str | None:
    if isinstance(value, dict):
        items = [(name, str(each)) for name, each in value.items() if isinstance(each, str | int)]
        return _table(items) if len(items) == len(value) else None
    pairs = _pairs(value)
    return _table(pairs) if pairs is not None else None


def _table(items: list[tuple[str, str]]) -> str:
    return "{ " + ", ".join(f"{quoted(name)} = {quoted(text)}" for name, text in items) + " }"


def _codes(value: Any) -> str | None:
    parts = value.replace(",", " ").split() if isinstance(value, str) else None
    if not parts:
        return _plain(value) if not isinstance(value, list) else None
    return "[" + ", ".join(part if part.isdecimal() else quoted(part) for part in parts) + "]"


def _envfile(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return quoted(f"{value[1:]}?" if value.startswith("-") else value)


def _copied(value: Any) -> str | None:
    return str(not value).lower() if isinstance(value, bool) else None


Translate = Callable[[Any], str | None]

_SAME: dict[str, tuple[str, ...]] = {
    "tty": ("is_tty",),
    "cmd": ("command", "ExecStart", "script", "exec", "run", "program", "entrypoint"),
    "name": ("process_name", "container_name", "title"),
    "description": ("Description", "desc"),
    "autostart": ("auto_start", "start_on_boot", "enabled"),
    "numprocess": ("numprocs", "numprocesses", "numproc", "replicas", "instances", "scale", "processes", "concurrency"),
    "exitcodes": ("exit_codes", "exitcode", "exit_code", "success_codes"),
    "successdelay": ("startsecs", "starttime", "start_time", "startdelay", "warmup_delay"),
    "retry": ("startretries", "starttries", "retries", "max_restarts", "max_retry", "max_retries", "StartLimitBurst"),
    "stopsignal": ("stop_signal", "KillSignal", "kill_signal", "signal"),
    "stopdelay": ("stopwaitsecs", "stoptime", "stop_time", "stop_grace_period", "graceful_timeout", "TimeoutStopSec"),
    "killgroup": ("stopasgroup", "killasgroup", "stop_children", "treekill"),
    "stdin": ("stdin_file",),
    "workingdir": ("directory", "working_dir", "cwd", "WorkingDirectory", "dir", "chdir", "workdir"),
    "umask": ("UMask",),
    "uid": ("user", "User", "username"),
    "gid": ("group", "Group"),
    "nice": ("Nice", "niceness"),
    "tags": ("labels", "namespace", "groups"),
}
"""Our key and foreign spellings whose value may stay."""

_TRANSLATED: dict[str, tuple[str, Translate]] = {
    "autorestart": ("restart", _restart), "Restart": ("restart", _restart), "respawn": ("restart", _restart),
    "restart_policy": ("restart", _restart), "relaunch": ("restart", _restart),
    "stdout_logfile": ("stdout", _output), "stderr_logfile": ("stderr", _output), "out_file": ("stdout", _output),
    "error_file": ("stderr", _output), "StandardOutput": ("stdout", _output), "StandardError": ("stderr", _output),
    "log_location": ("stdout", _output), "logfile": ("stdout", _output),
    "redirect_stderr": ("stderr", _joined), "merge_logs": ("stderr", _joined),
    "environment": ("env", _environment), "Environment": ("env", _environment), "env_vars": ("env", _environment),
    "SuccessExitStatus": ("exitcodes", _codes),
    "env_file": ("envfile", _envfile), "EnvironmentFile": ("envfile", _envfile), "dotenv": ("envfile", _envfile),
    "min_uptime": ("successdelay", _milliseconds), "kill_timeout": ("stopdelay", _milliseconds),
    "copy_env": ("cleanenv", _copied), "clean_env": ("cleanenv", _plain),
}  # fmt: skip
"""Foreign keys whose value is written otherwise here."""

_NOTES: dict[str, str] = {
    "priority": "there is no start order by number",
    "args": "write the arguments into `cmd`",
    "interpreter": 'write it into `cmd`: cmd = "python3 app.py"',
    "RestartSec": "write backoff = { first = … }",
    "restart_delay": "write backoff = { first = … }, in seconds",
    "backoff_seconds": "write backoff = { first = … }",
    "LimitNOFILE": "write [task.limits] nofile = …",
    "LimitNPROC": "write [task.limits] nproc = …",
    "LimitCORE": "write [task.limits] core = …",
    "rlimit_nofile": "write [task.limits] nofile = …",
    "ulimits": "write [task.limits] nofile = …",
    "stdout_logfile_maxbytes": 'write [task.log] maxsize = "50MB"',
    "stderr_logfile_maxbytes": 'write [task.log] maxsize = "50MB"',
    "stdout_logfile_backups": "write [task.log] keep = 10",
    "stderr_logfile_backups": "write [task.log] keep = 10",
    "depends_on": "it will be `dependson`, which is not supported yet",
    "healthcheck": "it will be `alive`, which is not supported yet",
    "readiness_probe": "it will be `ready`, which is not supported yet",
    "liveness_probe": "it will be `alive`, which is not supported yet",
    "cron_restart": "it will be `schedule`, which is not supported yet",
    "max_memory_restart": "it will be `limits.memory`, which is not supported yet",
    "is_daemon": "a job must stay in the foreground: give the program its switch for that",
    "image": "containers are not started; write the command",
    "Type": "every job is of the simple kind",
    "exec_mode": "there is no cluster mode: write numprocess = N",
}
"""Foreign keys without a key of ours."""

_OURS = {foreign: ours for ours, words in _SAME.items() for foreign in words}


def hint(key: str, value: Any) -> Hint | None:
    """Return what a foreign task key is here, or None for a word no program knows."""
    if key in _OURS:
        return Hint(_OURS[key], _plain(value), keeps=True)
    if key in _TRANSLATED:
        ours, translate = _TRANSLATED[key]
        return Hint(ours, translate(value))
    return Hint(None, note=_NOTES[key]) if key in _NOTES else None


KEYS = frozenset({*_OURS, *_TRANSLATED, *_NOTES})
"""Every foreign task key."""

PLACEHOLDERS = {
    "%(process_num)": "{index}",
    "%(program_name)": "{name}",
    "%(group_name)": "{name}",
    "%(ENV_": "${NAME}",
    "$(circus.wid)": "{index}",
    "$(circus.env": "${NAME}",
    "{PC_REPLICA_NUM}": "{index}",
}
"""Beginnings of other programs' placeholders, and ours."""
