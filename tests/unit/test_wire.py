"""Frames: what is a request, what is refused and how, and the examples of docs/protocol.md."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core import wire
from taskmaster_core.errors import BadRequest, NoSuchJob, TaskmasterError, WrongVersion
from taskmaster_core.spec import Exit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
GOOD: dict[str, Any] = {"v": 1, "id": "a", "op": "ping"}


def examples(kind: str) -> list[str]:
    return re.findall(rf"```json {kind}\n(.*?)\n```", PAGE.read_text(), re.DOTALL)


def frame(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_request_needs_no_more_than_version_id_and_op() -> None:
    assert wire.decode_request(frame()) == wire.Request(1, "a", "ping", [], {})


@pytest.mark.parametrize("text", examples("request"))
def test_the_pages_requests_are_requests(text: str) -> None:
    assert json.loads(wire.encode(wire.decode_request(text.encode()))) == json.loads(text)


@pytest.mark.parametrize("text", examples("reply"))
def test_the_pages_replies_are_replies(text: str) -> None:
    assert json.loads(wire.encode(wire.decode_reply(text.encode()))) == json.loads(text)


@pytest.mark.parametrize("text", examples("event"))
def test_the_pages_events_are_events(text: str) -> None:
    event = msgspec.json.decode(text, type=wire.Event)
    assert json.loads(wire.encode(event)) == json.loads(text)


def test_the_page_has_examples_of_each_kind() -> None:
    assert all(examples(kind) for kind in ("request", "reply", "event"))


NONSENSE = [
    b"", b"x", b"null", b"[]", b"7", b"NaN", b'"s"', b"{}", b"\xff\xfe", b'{"v":1', b'{"v":1,"id":"a"}',
    b'{"v":1,"id":7,"op":"ping"}', b'{"v":1,"id":"a","op":"ping","select":"web"}',
    b'{"v":1,"id":"a","op":"x","args":[]}',
    b'{"v":1,"id":"a","op":"ping","more":1}', b'{"v":' + b"9" * 5000 + b"}", b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:24].decode("latin1"))
def test_P06_what_is_no_request_is_refused(text: bytes) -> None:
    with pytest.raises(TaskmasterError) as found:
        wire.decode_request(text)
    assert found.value.code in {"bad_request", "wrong_version"}


@given(st.binary(max_size=200))
def test_P06_any_bytes_are_a_request_or_refused(text: bytes) -> None:
    assert isinstance(wire.request_id_in(text), str)
    for decode in (wire.decode_request, wire.decode_reply):
        with contextlib.suppress(TaskmasterError):
            decode(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["v", "id", "op", "select", "args", "x"]), inner),
)


@given(JSON)
def test_P06_any_json_is_a_request_or_refused(document: Any) -> None:
    with contextlib.suppress(BadRequest, WrongVersion):
        wire.decode_request(json.dumps(document).encode())


@pytest.mark.parametrize("depth", [10, 100, 600, 980, 990, 992, 994, 996, 1_000, 5_000])
@pytest.mark.parametrize("form", ['{"v":1,"id":"a","op":"x","args":{"timeout":%s}}', '{"v":%s,"id":"a","op":"ping"}'])
def test_P06_what_is_nested_without_end_is_refused(form: str, depth: int) -> None:
    """Whoever shows such a thing recurses: a reader could end the core with one request."""
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        with pytest.raises((BadRequest, WrongVersion)):
            wire.decode_request((form % (opened * depth + "1" + closed * depth)).encode())


def test_what_is_nested_as_deep_as_anybody_needs_is_a_request() -> None:
    assert wire.decode_request(frame(args={"widths": {"web": 3}})).args == {"widths": {"web": 3}}


@pytest.mark.parametrize("version", [0, 2, -1, "1", None, [], 10**400])
def test_P07_another_version_is_told_as_such(version: Any) -> None:
    with pytest.raises(WrongVersion, match="this core speaks version 1, not"):
        wire.decode_request(frame(v=version, select="whatever"))


def test_P07_a_foreign_version_in_an_otherwise_good_request_names_both() -> None:
    with pytest.raises(WrongVersion, match="this core speaks version 1, not 2") as found:
        wire.decode_request(frame(v=2))
    assert "client of the core's version" in found.value.help


def test_P05_a_request_that_is_too_long_says_how_long_it_may_be() -> None:
    with pytest.raises(BadRequest, match=f"may have {wire.MAX_FRAME} bytes"):
        wire.decode_request(b" " * (wire.MAX_FRAME + 1))


@pytest.mark.parametrize(
    ("text", "found"), [(frame(), "a"), (frame(op=7), "a"), (frame(id=7), ""), (b"[]", ""), (b"x", ""), (b"\xff", "")]
)
def test_id_is_found_in_what_may_be_no_request(text: bytes, found: str) -> None:
    assert wire.request_id_in(text) == found


def test_a_result_comes_back() -> None:
    assert wire.result_of(wire.decode_reply(wire.reply_ok("a", {"n": 1}))) == {"n": 1}


def test_an_error_comes_back_with_its_detail() -> None:
    sent = wire.reply_error("a", NoSuchJob("no job matches `wbe`", "did you mean `web`?"), ["web"])
    with pytest.raises(NoSuchJob, match="no job matches `wbe`") as found:
        wire.result_of(wire.decode_reply(sent))
    assert found.value.help == "did you mean `web`?"
    assert found.value.detail == ["web"]  # type: ignore[attr-defined]


def test_a_no_without_a_reason_is_an_error_too() -> None:
    with pytest.raises(TaskmasterError, match="without a reason"):
        wire.result_of(wire.Reply(1, "a", ok=False))


def test_an_answer_that_is_none_is_refused() -> None:
    with pytest.raises(BadRequest, match="was not understood"):
        wire.decode_reply(b"HTTP/1.1 400 Bad Request")


def test_an_exit_tells_only_what_is_known() -> None:
    assert wire.encode(Exit(code=0)) == b'{"code":0}'
    assert wire.encode(Exit()) == b"{}"


def test_ids_and_text_of_any_script_survive() -> None:
    sent = wire.Request(1, "ü-1", "start", ["naïve job", "工作:0"], {"wait": True})
    assert wire.decode_request(wire.encode(sent)) == sent


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        (None, None),
        (Exit(), {"code": None, "signal": None, "error": None, "core": False, "oom": ""}),
        (
            Exit(signal="SIGSEGV", core=True, oom="likely"),
            {"code": None, "signal": "SIGSEGV", "error": None, "core": True, "oom": "likely"},
        ),
        (
            Exit(stage="exec", errno="ENOENT", message="No such file"),
            {
                "code": None, "signal": None, "core": False, "oom": "",
                "error": {"stage": "exec", "errno": "ENOENT", "message": "No such file"},
            },
        ),
        (
            Exit(stage="recover", message="not known"),
            {
                "code": None, "signal": None, "core": False, "oom": "",
                "error": {"stage": "recover", "errno": "", "message": "not known"},
            },
        ),
    ],
)  # fmt: skip
def test_an_end_as_clients_see_it(end: Exit | None, shown: Any) -> None:
    assert json.loads(wire.encode(wire.exit_view(end))) == shown
