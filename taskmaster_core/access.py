"""Decide who may do what: one role for every operation and every topic, and nobody may do what stands nowhere.

Pure: it looks at numbers and names, and says a role or a refusal. The operations ask it before anything is done, the
server for every subscription; where the lists come from is `[taskmaster.access]`, and for remote peers `keys`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from typing import Any

from msgspec import Struct

from taskmaster_core.errors import Refused, UsageError


class Role(IntEnum):
    """Rank what somebody may do; each may do what those before it may."""

    NOBODY = 0
    READER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """Return the word for it on the wire, in the config and in sentences."""
        return _WORDS[self]


_WORDS = {Role.NOBODY: "nobody", Role.READER: "read-only", Role.OPERATOR: "operator", Role.ADMIN: "admin"}
ROLES = {word: role for role, word in _WORDS.items() if role}

OPS: Mapping[str, Role] = {
    "ping": Role.READER, "status": Role.READER, "show": Role.READER, "why": Role.READER, "config": Role.READER,
    "events": Role.READER, "logs": Role.READER, "find": Role.READER, "wait": Role.READER, "generations": Role.READER,
    "doctor": Role.READER, "detach": Role.READER,
    "start": Role.OPERATOR, "stop": Role.OPERATOR, "restart": Role.OPERATOR, "kill": Role.OPERATOR,
    "signal": Role.OPERATOR, "scale": Role.OPERATOR, "reset": Role.OPERATOR, "hold": Role.OPERATOR,
    "release": Role.OPERATOR, "undo": Role.OPERATOR, "reopen": Role.OPERATOR,
    "send": Role.OPERATOR, "attach": Role.OPERATOR, "input": Role.OPERATOR, "resize": Role.OPERATOR,
    # everything that leads to running other code, that ends the whole, or that tells what is secret
    "reload": Role.ADMIN, "shutdown": Role.ADMIN, "generation": Role.ADMIN, "upgrade": Role.ADMIN,
}  # fmt: skip
"""What role an operation wants. One that does not stand here is refused to everybody, and fails the tests."""

TOPICS: Mapping[str, Role] = {
    "event": Role.READER, "state": Role.READER, "beat": Role.READER, "metrics": Role.READER, "log": Role.READER,
    "tty": Role.READER,
}  # fmt: skip
"""The same for topics, by their first word. One that does not stand here is published to nobody."""

_PLANS = frozenset({"reload", "undo"})
"""Operations that with `plan` only say what they would do."""


_TOLD_ELSEWHERE = frozenset({"generation", "attach", "input", "resize"})
"""It changes nothing; or it comes with every key, and who is at a terminal is an event of its own."""


def wanted(op: str, args: Mapping[str, Any]) -> Role | None:
    """Return the role an operation wants, None for one that nobody may carry out."""
    looks = (op in _PLANS and args.get("plan") is True) or (op == "attach" and args.get("write") is False)
    return Role.READER if looks else OPS.get(op)


def acts(op: str, args: Mapping[str, Any]) -> bool:
    """Tell whether an operation changes something, so that who asked for it is worth a line."""
    role = wanted(op, args)
    return role is not None and role > Role.READER and op not in _TOLD_ELSEWHERE


def of_topic(topic: str) -> Role | None:
    """Return the role a published topic wants, None for one that nobody may hear."""
    return TOPICS.get(topic.partition(".")[0])


def of_prefix(prefix: str) -> Role | None:
    """Return the role that a subscription wants: that of everything it could bring; None for what brings nothing."""
    word, dot, _ = prefix.partition(".")
    found = [role for topic, role in TOPICS.items() if (topic == word if dot else topic.startswith(word))]
    return max(found, default=None)


def held_to(role: Role, word: str) -> Role:
    """Return the role of somebody who asks to be held to another one, which never is a higher one."""
    if not word:
        return role
    if word not in ROLES:
        raise UsageError(f"`as`: there is no role `{word[:40]}`", ", ".join(ROLES))
    return min(role, ROLES[word])


def refusal(op: str, role: Role, needs: Role | None, who: str) -> Refused:
    """Return the error for what somebody may not do: who, what, which role it takes, and where that is given."""
    needed = needs.word if needs is not None else "no"
    remedy = f"who has role {needed} can, or can give it: [taskmaster.access] in the config, `taskmaster host` for keys"
    return Refused(f"`{op}` needs role {needed}, and {who} has role {role.word}", remedy)


class Grants(Struct, frozen=True):
    """Hold who has which role, in numbers. Whoever stands nowhere is nobody."""

    admins: frozenset[int] = frozenset()
    operators: frozenset[int] = frozenset()
    operator_groups: frozenset[int] = frozenset()
    readers: frozenset[int] = frozenset()
    reader_groups: frozenset[int] = frozenset()

    def role(self, uid: int, groups: Collection[int]) -> Role:
        """Return the highest role of a local user."""
        if uid in self.admins:
            return Role.ADMIN
        if uid in self.operators or not self.operator_groups.isdisjoint(groups):
            return Role.OPERATOR
        if uid in self.readers or not self.reader_groups.isdisjoint(groups):
            return Role.READER
        return Role.NOBODY


def grants(
    core: int, operators: Iterable[tuple[str, int]], readers: Iterable[tuple[str, int]], socketgroup: int | None
) -> Grants:
    """Return who has which role; lists hold ("user", uid) and ("group", gid). The socket's group may read."""
    able, reading = list(operators), list(readers)
    if socketgroup is not None:
        reading.append(("group", socketgroup))
    return Grants(
        frozenset({0, core}), _of("user", able), _of("group", able), _of("user", reading), _of("group", reading)
    )


def _of(kind: str, pairs: Iterable[tuple[str, int]]) -> frozenset[int]:
    return frozenset(number for each, number in pairs if each == kind)
