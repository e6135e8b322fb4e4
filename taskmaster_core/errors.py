"""The errors a person can meet: each class has a wire code and an exit status.

Nothing here decides anything. Everything that refuses, fails or cannot find something raises or carries one of
these; the server turns them into replies, the CLI into a sentence and an exit status (DESIGN §9).
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Hold the exit statuses of every command."""

    DONE = 0
    NOT_AS_ASKED = 1
    USAGE = 2
    NO_CORE = 3
    NO_SUCH = 4
    TIMEOUT = 5
    CONFIG = 6
    REFUSED = 7
    PENDING_CHANGES = 8
    INTERRUPTED = 130


class TaskmasterError(Exception):
    """Say what went wrong (`message`) and what to do next (`help`)."""

    code = "error"
    status = ExitStatus.NOT_AS_ASKED

    def __init__(self, message: str, help: str = "") -> None:  # noqa: A002  # the field's name on the wire
        super().__init__(message)
        self.message = message
        self.help = help


class UsageError(TaskmasterError):
    """Report a request or command line that cannot be understood."""

    code = "usage"
    status = ExitStatus.USAGE


class BadRequest(UsageError):
    """Report a frame that is not a well-formed request."""

    code = "bad_request"


class UnknownOp(UsageError):
    """Report an `op` that this core does not have."""

    code = "unknown_op"


class WrongVersion(UsageError):
    """Report a request of another protocol version."""

    code = "wrong_version"


class NoCore(TaskmasterError):
    """Report that no core answers at any of the places looked at."""

    code = "no_core"
    status = ExitStatus.NO_CORE


class NoSuchJob(TaskmasterError):
    """Report a selector that matches no job and no process."""

    code = "no_such_job"
    status = ExitStatus.NO_SUCH


class TimedOut(TaskmasterError):
    """Report that the effect did not happen within the time given; it may still happen."""

    code = "timeout"
    status = ExitStatus.TIMEOUT


class ConfigInvalid(TaskmasterError):
    """Report a config that cannot be read or is not valid; nothing was changed."""

    code = "config_invalid"
    status = ExitStatus.CONFIG


class Refused(TaskmasterError):
    """Report a request that was understood and is not carried out."""

    code = "refused"
    status = ExitStatus.REFUSED


class NotAsAsked(TaskmasterError):
    """Report that it ran but the result is not what was asked for."""

    code = "not_as_asked"


class Interrupted(TaskmasterError):
    """Report that the person pressed Ctrl-C."""

    code = "interrupted"
    status = ExitStatus.INTERRUPTED


def _all(cls: type[TaskmasterError]) -> list[type[TaskmasterError]]:
    return [cls, *(each for sub in cls.__subclasses__() for each in _all(sub))]


def from_code(code: str, message: str, help: str = "") -> TaskmasterError:  # noqa: A002  # as above
    """Return the error that a reply's `code` names, a plain TaskmasterError for one we do not know."""
    known = {cls.code: cls for cls in _all(TaskmasterError)}
    return known.get(code, TaskmasterError)(message, help)
