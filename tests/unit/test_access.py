"""Who may do what: one table, and nobody may do what does not stand in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import taskmaster_core.daemon  # noqa: F401  # `logs` and `doctor` join the table there
from taskmaster_core import access
from taskmaster_core.access import OPS, TOPICS, Role, grants, held_to, of_prefix, of_topic, wanted
from taskmaster_core.errors import UsageError
from taskmaster_core.ops import TABLE

CORE = Path(access.__file__).parent
LISTS = grants(1000, [("user", 1001), ("group", 60)], [("user", 1002), ("group", 61)], socketgroup=70)


@pytest.mark.parametrize("op", sorted(TABLE))
def test_S03_every_operation_has_a_role(op: str) -> None:
    assert op in OPS, f"say in access.OPS who may carry out `{op}`"


def test_S03_every_topic_that_is_published_has_a_role() -> None:
    published = set()
    for file in CORE.glob("*.py"):
        text = file.read_text()
        constants = dict(re.findall(r'^([A-Z_]+) = "([a-z]+)\.?"', text, re.MULTILINE))
        for literal, named in re.findall(r'\.publish\(f?(?:"([a-z]+)|"?\{?([A-Z_]+))', text):
            published.add(literal or constants[named])
    assert published - set(TOPICS) == set()
    assert {"event", "state", "beat", "metrics", "log"} <= published, "the search still finds them"


def test_S03_what_stands_nowhere_is_for_nobody() -> None:
    assert (wanted("novel", {}), of_topic("novel.thing"), of_prefix("novel.")) == (None, None, None)


@pytest.mark.parametrize("op", ["reload", "shutdown", "generation"])
def test_S03_what_leads_to_other_code_or_tells_secrets_is_for_admins(op: str) -> None:
    assert OPS[op] is Role.ADMIN


def test_looking_on_at_a_terminal_is_reading_and_typing_is_not() -> None:
    assert wanted("attach", {"write": False}) is Role.READER
    assert {wanted(op, {}) for op in ("attach", "input", "send", "resize")} == {Role.OPERATOR}


@pytest.mark.parametrize("op", ["reload", "undo"])
def test_a_mere_plan_may_be_read(op: str) -> None:
    assert wanted(op, {"plan": True}) is Role.READER
    assert wanted(op, {"plan": 1}) is OPS[op], "only what the operation itself takes for a plan"


@pytest.mark.parametrize(
    ("uid", "groups", "role"),
    [
        (0, {0}, Role.ADMIN),
        (1000, {5}, Role.ADMIN),
        (1001, {5}, Role.OPERATOR),
        (7, {5, 60}, Role.OPERATOR),
        (1002, {60}, Role.OPERATOR),
        (1002, {5}, Role.READER),
        (7, {61}, Role.READER),
        (7, {70}, Role.READER),
        (7, {5}, Role.NOBODY),
    ],
)
def test_the_highest_role_that_the_lists_give_counts(uid: int, groups: set[int], role: Role) -> None:
    assert LISTS.role(uid, groups) is role


def test_a_role_is_asked_to_be_less_and_never_more() -> None:
    assert held_to(Role.ADMIN, "read-only") is Role.READER
    assert held_to(Role.READER, "admin") is Role.READER
    assert held_to(Role.OPERATOR, "") is Role.OPERATOR


def test_an_unknown_role_to_be_held_to_is_an_error() -> None:
    with pytest.raises(UsageError, match="there is no role"):
        held_to(Role.ADMIN, "readonly")


@pytest.mark.parametrize("prefix", ["", "e", "event", "event.", "event.started", "log.web:0", "state"])
def test_a_subscription_wants_the_role_of_all_it_could_bring(prefix: str) -> None:
    assert of_prefix(prefix) is Role.READER


@pytest.mark.parametrize("prefix", ["eventual", "x", "stat.", "event/"])
def test_a_subscription_to_what_is_no_topic_brings_nothing(prefix: str) -> None:
    assert of_prefix(prefix) is None
