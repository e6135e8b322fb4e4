"""Every operation with every kind of nonsense, against a real core: it says no and lives (P06, P07, S18).

The op table itself is asked, so that a new operation is fuzzed from its first day.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskmaster_core import access
from tests.harness import Daemon
from tests.integration.shared import cmd, job, running

DEEP = os.environ.get("TASKMASTER_HYPOTHESIS") == "deep"
OPS = sorted(set(access.OPS) - {"shutdown", "upgrade"})  # what ends the core ends the test
ARGS = (
    "around", "autostart", "back", "confirmed", "count", "cursor", "data", "end", "except", "follow", "for",
    "ignorecase", "keep_core", "lease", "limit", "most", "n", "number", "partial", "pattern", "plan", "redraw", "run",
    "since", "since_time", "streams", "takeover", "text", "types", "undo", "until", "usage", "wait", "widths", "write",
    "signal", "timeout", "rows", "columns", "size", "key", "selector", "at", "offset",
)  # fmt: skip

AT_A_TIME = 40
"""Requests under way: of more than 64 of one connection that wait, each further one is refused."""

SELECTORS = st.sampled_from([
    "web", "web:0", "web:*", "all", "@x", "", "*", ":", "web:", "web:99999999999999999999", "web:²", "[", "w[", "!web",
    "\0", "two words", "a" * 99, "-", "web:-1", "@", "**", "web:0:0", "\ud800",
])  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(allow_nan=True, allow_infinity=True), SELECTORS,
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**40, 1e308, -1.0, 0, "TERM", "SIGKILL", "running", "9", "(a+)+$",
                     "out", "tty", "MTIz", "\x1b[2J", "1e5"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ARGS), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
CURSORS = st.fixed_dictionaries({}, optional={
    "at": st.dictionaries(st.sampled_from(["/x", "web", "0", ""]), VALUES, max_size=2) | VALUES, "packed": VALUES,
    "rest": VALUES, "waits": VALUES, "pattern": VALUES, "left": VALUES, "key": SELECTORS, "stream": VALUES,
    "offset": VALUES,
})  # fmt: skip
NAMED = st.dictionaries(st.sampled_from(ARGS), VALUES, max_size=4)
REQUESTS = st.fixed_dictionaries({
    "op": st.sampled_from(OPS), "select": st.lists(SELECTORS, max_size=2),
    "args": st.one_of(
        NAMED, st.builds(lambda args, cursor: {**args, "cursor": cursor}, NAMED, CURSORS),
        st.builds(lambda args, place: {**args, "around": place}, NAMED, CURSORS),
    ),
})  # fmt: skip


class Asker:
    """A connection that asks without waiting."""

    def __init__(self, it: Daemon) -> None:
        self.daemon = it
        self.core = it.core_pid
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(f"ipc://{it.places.commands}")
        self._number = 0

    def ask(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send requests, not too many at a time, each time with a ping behind; return what was answered meanwhile."""
        parts = [documents[start : start + AT_A_TIME] for start in range(0, len(documents), AT_A_TIME)]
        return [answer for part in parts for answer in self._ask(part)]

    def _ask(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        mine = [self._send(document) for document in documents]
        answers: dict[str, dict[str, Any]] = {}
        mark, until = self._send({"op": "ping"}), time.monotonic() + 30
        while mark not in answers or (len(mine) == 1 and mine[0] not in answers):
            left = until - time.monotonic()
            assert left > 0, f"no answer to a ping; the core was {self.core} and is {self.daemon.core_pid}"
            if self._socket.poll(int(left * 1000)):
                answer = json.loads(self._socket.recv_multipart()[1])
                answers[answer["id"]] = answer
            if mark in answers and "result" not in answers[mark]:  # what was asked before waits for the shim
                time.sleep(0.05)
                mark = self._send({"op": "ping"})
        before, self.core = self.core, answers[mark]["result"]["pid"]
        assert before == self.core, "it died of that"
        return [answers[each] for each in mine if each in answers]

    def _send(self, document: dict[str, Any]) -> str:
        self._number += 1
        body = {"v": 1, "id": f"f{self._number}", **document}
        self._socket.send_multipart([b"", json.dumps(body).encode()])
        return str(body["id"])

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    jobs = job("web", cmd("sleeper.py"), numprocess="2", stdin='"pipe"') + job("tty", cmd("sleeper.py"), tty="true")
    with running(jobs) as it:
        it.wait_state("web:1", "running")
        made = Asker(it)
        yield made
        made.close()
        assert "Traceback" not in it.stderr()


@settings(max_examples=400 if DEEP else 8, suppress_health_check=list(HealthCheck))
@given(st.lists(REQUESTS, min_size=50, max_size=50))
def test_P07_any_arguments_of_any_operation_are_answered_or_refused(
    asker: Asker, documents: list[dict[str, Any]]
) -> None:
    """Requests of every operation with arguments of every kind are answered, and the core stays the same one."""
    for answer in asker.ask(documents):
        assert answer["ok"] or answer["error"]["code"] not in ("internal", "error"), answer


WRONG = (None, [], {}, "x", -1, 10**30, -(2**63) - 1, 1e308, [[]], [1])


def test_P07_every_argument_of_a_wrong_kind_is_refused_or_not_looked_at(asker: Asker) -> None:
    """Each argument of each operation with a value of each kind, 12,000 requests, and the core stays the same."""
    for op in (op for op in OPS if op not in ("reload", "doctor")):  # dear ones, and fuzzed above
        few = {"n": 1, "wait": False}
        asker.ask([{"op": op, "select": [], "args": {**few, name: value}} for name in ARGS for value in WRONG])


@pytest.mark.parametrize("args", [
    {"since": 2**63}, {"before": 2**63}, {"since": -(2**70)},
    {"since_time": 10**30}, {"until": 10**30}, {"n": 10**30}, {"types": [1]},
    {"types": [[]]},
])  # fmt: skip
def test_P07_events_beyond_all_numbers_are_refused(asker: Asker, args: dict[str, Any]) -> None:
    """A number that the journal cannot hold is a wrong argument; it ended the core, and reading is for everybody."""
    answer = asker.ask([{"op": "events", "select": [], "args": args}])[0]
    assert answer["error"]["code"] == "usage"
