"""What one run gets: argv, environment, directories and redirections, made from a spec's templates.

Decides what every placeholder stands for and which of the core's own variables a job may see. Reads neither the
clock nor the environment of this process: the caller passes both. The core calls it before each spawn, the config
layer to find bad templates before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from taskmaster_core.spec import JobSpec, Key

OWN_VARIABLES = frozenset(
    {
        "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID",
        "LISTEN_PIDFDID", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MAINPID", "TASKMASTER_LINK_FD",
        "TASKMASTER_RECOVER", "TASKMASTER_SUPERVISED",
    }
)  # fmt: skip
"""What a service manager and the shim tell the core alone. A job that saw NOTIFY_SOCKET would speak for the core."""

FACTS = ("TASKMASTER_JOB", "TASKMASTER_INDEX", "TASKMASTER_RUN", "TASKMASTER_INSTANCE")
"""The variables every process gets; nothing a config says replaces them."""

WORDS = frozenset({"log", "null", "inherit", "stdout"})
"""The redirections that are no path."""

TERM = "xterm-256color"
"""What a terminal of ours is called where the environment does not say: most who attach have one much like it."""

_TOKEN = re.compile(
    r"\{(?P<escaped>\{(?:name|index(?::0\d\d?)?|\.Id|\.Time)\})\}"
    r"|\{(?P<plain>name|index(?::0(?P<width>\d\d?))?|\.Id|\.Time)\}"
    r"|\$(?P<literal>\$\{[A-Za-z_]\w*(?::[-?][^}]*)?\})"
    r"|\$\{(?P<variable>[A-Za-z_]\w*)(?::(?P<operator>[-?])(?P<operand>[^}]*))?\}",
    re.ASCII,
)
_NESTED = re.compile(r"\$\{[A-Za-z_]\w*:[-?][^}]*\$\{", re.ASCII)


class ExpandError(ValueError):
    """Say which placeholder has no value, and why."""


class Launch(Struct, frozen=True):
    """Hold everything of one run that the spec's templates decide; the environment is complete."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    stdin: str
    stdout: str
    stderr: str


def _variable(found: re.Match[str], env: Mapping[str, str]) -> str:
    name, operator, operand = found["variable"], found["operator"], found["operand"]
    value = env.get(name)
    if operator is None:
        if value is None:
            raise ExpandError(f"${{{name}}} is not set")
        return value
    if value:
        return value
    if operator == "?":
        raise ExpandError(f"${{{name}}}: {operand or 'not set or empty'}")
    return str(operand)


def expand(template: str, names: Mapping[str, str | int], env: Mapping[str, str], *, dollars: bool = True) -> str:
    """Replace the placeholders of `template` in one pass; what they stand for is not looked at again.

    `names` holds name, index, .Id and .Time. Without `dollars` every `$` is left alone: it is a shell's. Raises
    ExpandError for a `${VAR}` that is not set and has no default, and for `${VAR:?message}`.
    """

    def replace(found: re.Match[str]) -> str:
        if found["plain"]:
            value = names[found["plain"].partition(":")[0]]
            return str(value).zfill(int(found["width"] or 0))
        if found["escaped"]:
            return found["escaped"]
        if not dollars:
            return found[0]
        return found["literal"] or _variable(found, env)

    if "{" not in template:
        return template
    return _TOKEN.sub(replace, template)


def literal(text: str) -> str:
    """Return a template that stands for `text`, for names of directories that look like placeholders."""
    return _TOKEN.sub(lambda found: f"{{{found[0]}}}" if found["plain"] else f"${found[0]}", text)


def check_template(template: str, *, dollars: bool = True) -> str | None:
    """Return what is wrong with a template whatever the environment holds, or None."""
    if "\0" in template:
        return "a NUL character cannot be passed to a process"
    if dollars and _NESTED.search(template):
        return "a default cannot hold another ${…}"
    return None


def _base(spec: JobSpec, base_env: Mapping[str, str]) -> dict[str, str]:
    if spec.cleanenv is True:
        return {}
    allowed = base_env if spec.cleanenv is False else spec.cleanenv
    return {name: base_env[name] for name in allowed if name in base_env and name not in OWN_VARIABLES}


def _facts(key: Key, run: int, instance: str) -> dict[str, str]:
    return dict(zip(FACTS, (key.job, str(key.index), str(run), instance), strict=True))


def names_of(key: Key, now_unix: int) -> dict[str, str | int]:
    """Return what the brace placeholders stand for."""
    return {"name": key.job, "index": key.index, ".Id": key.index, ".Time": now_unix}


def environment(
    spec: JobSpec,
    names: Mapping[str, str | int],
    facts: Mapping[str, str],
    *,
    base_env: Mapping[str, str],
    identity: Mapping[str, str],
) -> dict[str, str]:
    """Return a process's whole environment; each value sees what stands before it, so none can refer to itself.

    Raises ExpandError, naming the variable whose value could not be made.
    """
    env = _base(spec, base_env) | dict(identity) | dict(facts)
    for name, template in spec.baseenv.items():
        env[name] = _value(name, template, names, env)
    env |= spec.fileenv
    for name, template in spec.env.items():
        env[name] = _value(name, template, names, env)
    return env | dict(facts)


def _value(name: str, template: str, names: Mapping[str, str | int], env: Mapping[str, str]) -> str:
    try:
        return expand(template, names, env)
    except ExpandError as error:
        raise ExpandError(f"{name}: {error}") from error


def launch(
    spec: JobSpec,
    key: Key,
    run: int,
    *,
    base_env: Mapping[str, str],
    identity: Mapping[str, str],
    instance: str,
    now_unix: int,
) -> Launch:
    """Return what the shim has to start for this run; raise ExpandError when a placeholder has no value.

    `identity` holds HOME, USER, LOGNAME and SHELL of a job with a uid of its own, else it is empty. It stands
    between the core's environment and what the config says.
    """
    names = names_of(key, now_unix)
    env = environment(spec, names, _facts(key, run, instance), base_env=base_env, identity=identity)

    def path(template: str) -> str:
        return template if template in WORDS else expand(template, names, env)

    if spec.tty and env.get("TERM", "dumb") == "dumb":
        env["TERM"] = TERM
    return Launch(
        argv=tuple(expand(word, names, env, dollars=spec.shell is None) for word in spec.argv),
        env=env,
        cwd=path(spec.workingdir),
        stdin="pipe" if spec.stdin == "pipe" else path(spec.stdin),
        stdout=path(spec.stdout),
        stderr=path(spec.stderr),
    )
