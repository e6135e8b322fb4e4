"""Let single system calls of shim and core fail, or kill them there; afterwards all is in order and heals by itself.

What fails is injected by strace (RELIABILITY §7). The quick ones are one error for each kind of call; the whole sweep
is slow: every error at many positions, and a kill at the N-th call of each kind.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from taskmaster_core.errors import TaskmasterError
from tests.crash.hall import Hall
from tests.crash.stage import SETTLED_WITHIN, NoAnswer, Stage
from tests.crash.tracer import injected, missing, was_hit

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

FORK = "clone,clone3,fork,vfork"
OPEN = "openat,open"
NODE = "mknodat,mknod"

QUICK = [
    (FORK, "EAGAIN"), ("pipe2", "EMFILE"), (OPEN, "EMFILE"), (OPEN, "EIO"), (NODE, "ENOSPC"), ("write", "ENOSPC"),
    ("rename", "ENOSPC"), ("epoll_ctl", "ENOMEM"), ("sendto", "EAGAIN"), ("splice", "ENOSPC"),
    ("pidfd_open", "EMFILE"), ("flock", "EINTR"),
]  # fmt: skip

ERRORS = {
    FORK: "EAGAIN ENOMEM",
    "pipe2": "EMFILE ENFILE ENOMEM",
    OPEN: "EMFILE ENFILE ENOSPC EIO EINTR ENOMEM",
    NODE: "ENOSPC EIO ENOMEM",
    "write": "ENOSPC EDQUOT EIO EINTR",
    "pwrite64": "ENOSPC EIO EINTR",
    "splice": "ENOSPC EDQUOT EIO ENOMEM EAGAIN EINTR",
    "rename": "ENOSPC EIO ENOMEM",
    "epoll_ctl": "ENOMEM ENOSPC",
    "epoll_wait": "EINTR",
    "sendto": "EAGAIN EINTR ENOMEM",
    "recvfrom": "EAGAIN EINTR ENOMEM",
    "pidfd_open": "EMFILE ENFILE ENOMEM",
    "flock": "EINTR ENOLCK",
    "ftruncate": "EIO EINTR",
    "mkdir": "ENOSPC EIO",
    "rmdir": "EBUSY EIO",
    "unlink": "EIO",
    "lseek": "EIO",
    "newfstatat": "EIO ENOMEM",
    "getdents64": "EIO ENOMEM",
    "read": "EIO EINTR",
    "pread64": "EIO",
    "ioctl": "EIO",
    "fcntl": "EIO",
    "fchmod": "EIO EPERM",
    "waitid": "EINTR",
}
CORE_ERRORS = {
    "fsync,fdatasync": "EIO ENOSPC",
    "pwrite64": "ENOSPC EIO",
    "pread64": "EIO",
    OPEN: "EMFILE ENFILE ENOSPC EIO ENOMEM",
    "rename": "ENOSPC EIO",
    "unlink": "EIO",
    "ftruncate": "EIO",
    "newfstatat": "EIO ENOMEM",
    "write": "ENOSPC EIO EINTR",
    "read": "EIO EINTR",
    "sendto": "EAGAIN EINTR ENOMEM",
    "recvfrom": "EAGAIN EINTR ENOMEM",
    "epoll_ctl": "ENOMEM ENOSPC",
    "epoll_wait": "EINTR",
    "poll": "EINTR ENOMEM",
    "accept4": "EMFILE ENFILE ENOMEM",
    "mmap": "ENOMEM",
    "futex": "EINTR",
}
POSITIONS = ("1", "2", "3", "5", "8", "13", "2+3", "1+2")
CORE_QUICK = [("fsync,fdatasync", "EIO"), ("pwrite64", "ENOSPC"), ("rename", "ENOSPC")]


def pairs(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(calls, error) for calls, errors in table.items() for error in errors.split()]


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    made = Hall(points=False)
    yield made
    made.clear()


@pytest.fixture
def stage(hall: Hall) -> Iterator[Stage]:
    with hall.lend() as stage:
        yield stage


def fail(stage: Stage, side: str, calls: str, what: str) -> bool:
    """Work while calls fail, then see that all is well without further help; tell whether any call did."""
    stage.note(f"{side}: {calls} {what}")
    told = False
    stage.patience = 2.0 if "+" in what else SETTLED_WITHIN  # where every third call fails nothing may come about
    with injected(stage.pid_of(side), calls, what, threads=side == "core") as log:
        try:
            stage.work()
        except (TaskmasterError, NoAnswer) as error:
            stage.note(f"told: {error}")
            told = True
        hit = was_hit(log)
    stage.patience = SETTLED_WITHIN
    if told:
        stage.work()  # who was told asks again
    stage.settle()
    stage.check(quiet=False)
    return hit


@pytest.mark.parametrize(("calls", "error"), QUICK)
def test_L19_a_system_call_of_the_shim_that_fails_once_costs_nothing_that_does_not_heal(
    stage: Stage, calls: str, error: str
) -> None:
    # How often it comes depends on how the work falls into turns.
    assert any(fail(stage, "shim", calls, f"error={error}:when={number}") for number in (2, 1, 1))


@pytest.mark.parametrize(("calls", "error"), CORE_QUICK)
def test_G9_a_system_call_of_the_core_that_fails_once_costs_nothing_that_does_not_heal(
    stage: Stage, calls: str, error: str
) -> None:
    assert fail(stage, "core", calls, f"error={error}:when=2") or fail(stage, "core", calls, f"error={error}:when=1")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("calls", "error"), pairs(ERRORS))
def test_L19_every_error_of_a_system_call_of_the_shim_at_many_positions_heals(
    stage: Stage, calls: str, error: str
) -> None:
    for when in POSITIONS:
        fail(stage, "shim", calls, f"error={error}:when={when}")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("calls", "error"), pairs(CORE_ERRORS))
def test_G9_every_error_of_a_system_call_of_the_core_at_many_positions_heals(
    stage: Stage, calls: str, error: str
) -> None:
    for when in POSITIONS:
        fail(stage, "core", calls, f"error={error}:when={when}")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("side", "calls"), [*(("shim", calls) for calls in ERRORS), *(("core", calls) for calls in CORE_ERRORS)]
)
def test_L08_shim_or_core_is_killed_at_the_nth_system_call(stage: Stage, side: str, calls: str) -> None:
    seed = int(os.environ.get("TM_SEED", "20261123"))
    print(f"TM_SEED={seed}")
    chance = random.Random(seed)
    for when in (1, 2, 3, *(chance.randrange(4, 30) for _ in range(7))):
        fail(stage, side, calls, f"signal=KILL:when={when}")
