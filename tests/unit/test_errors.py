"""Each error has its own code and an exit status, and comes back from the wire as itself."""

from __future__ import annotations

import pytest

from taskmaster_core import errors
from taskmaster_core.errors import ExitStatus, TaskmasterError, from_code

EVERY = errors._all(TaskmasterError)


def test_codes_are_unique() -> None:
    assert len({cls.code for cls in EVERY}) == len(EVERY)


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.code)
def test_an_error_comes_back_from_the_wire_as_itself(cls: type[TaskmasterError]) -> None:
    found = from_code(cls.code, "it went wrong", "do that")
    assert type(found) is cls
    assert (found.message, found.help, str(found)) == ("it went wrong", "do that", "it went wrong")
    assert isinstance(found.status, ExitStatus)


def test_a_code_of_a_newer_core_is_a_plain_error() -> None:
    found = from_code("out_of_cheese", "redo from start")
    assert (type(found), found.status, found.help) == (TaskmasterError, ExitStatus.NOT_AS_ASKED, "")


@pytest.mark.parametrize(
    ("cls", "status"),
    [
        (errors.NotAsAsked, 1), (errors.UsageError, 2), (errors.BadRequest, 2), (errors.UnknownOp, 2),
        (errors.WrongVersion, 2), (errors.NoCore, 3), (errors.NoSuchJob, 4), (errors.TimedOut, 5),
        (errors.ConfigInvalid, 6), (errors.Refused, 7), (errors.Interrupted, 130),
    ],
)  # fmt: skip
def test_exit_status_is_the_one_of_the_contract(cls: type[TaskmasterError], status: int) -> None:
    assert cls("").status == status
