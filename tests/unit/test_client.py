from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core import client as module
from taskmaster_core import wire
from taskmaster_core.client import Client, connect, detail_of, encode_request, find, probe
from taskmaster_core.errors import BadRequest, ConfigInvalid, NoCore, NoSuchJob, TimedOut, UsageError
from tests.fakecore import FakeCore, Raw, event


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = FakeCore().start()
    yield made
    made.close()


@pytest.fixture
def client(core: FakeCore) -> Iterator[Client]:
    with Client(core.commands, silence=0.3) as made:
        yield made


def env_of(core: FakeCore) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(core.home / "run"), "HOME": str(core.home)}


# Asking


def test_the_client_and_the_wire_agree_on_version_and_size() -> None:
    assert (module.VERSION, module.MAX_FRAME) == (wire.VERSION, wire.MAX_FRAME)


def test_a_request_is_one_the_wire_accepts() -> None:
    frame = encode_request("a-1", "stop", ["web:0"], {"wait": True})
    assert wire.decode_request(frame) == wire.Request(1, "a-1", "stop", ["web:0"], {"wait": True})


def test_call_returns_the_result(core: FakeCore, client: Client) -> None:
    core.on("config", {"files": []})
    assert client.call("config") == {"files": []}


def test_call_carries_selectors_and_arguments(core: FakeCore, client: Client) -> None:
    core.on("stop", {"outcomes": []})
    client.call("stop", ["web", "@db"], {"wait": False})
    asked = core.last("stop")
    assert (asked["v"], asked["select"], asked["args"]) == (1, ["web", "@db"], {"wait": False})


def test_every_request_has_an_id_of_its_own(core: FakeCore, client: Client) -> None:
    for _ in range(3):
        client.call("ping")
    assert len({request["id"] for request in core.requests}) == 3


def test_call_raw_returns_the_second_frame(core: FakeCore, client: Client) -> None:
    core.on("logs", Raw({"lines": []}, b"\xff\x00bytes"))
    assert client.call_raw("logs") == ({"lines": []}, b"\xff\x00bytes")


def test_an_error_reply_becomes_its_class_with_message_and_help(core: FakeCore, client: Client) -> None:
    core.on("stop", _raise(NoSuchJob("no job or process matches `wbe`", "did you mean `web`?")))
    with pytest.raises(NoSuchJob) as caught:
        client.call("stop", ["wbe"])
    assert (caught.value.message, caught.value.help) == ("no job or process matches `wbe`", "did you mean `web`?")


def test_an_errors_detail_is_kept(core: FakeCore, client: Client) -> None:
    error = ConfigInvalid("no")
    error.detail = [{"code": "E101"}]  # type: ignore[attr-defined]
    core.on("reload", _raise(error))
    with pytest.raises(ConfigInvalid) as caught:
        client.call("reload")
    assert detail_of(caught.value) == [{"code": "E101"}]


def test_an_answer_that_is_no_reply_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="not understood"):
        module._read_answer([b"", b"not json"])


def test_P05_a_request_longer_than_a_frame_is_refused_before_it_is_sent(core: FakeCore, client: Client) -> None:
    with pytest.raises(UsageError, match="1048576"):
        client.call("stop", ["x" * module.MAX_FRAME])
    assert core.requests == []


def test_an_argument_that_is_not_text_is_refused_before_it_is_sent(core: FakeCore, client: Client) -> None:
    with pytest.raises(UsageError, match="cannot be sent"):
        client.call("stop", ["\udcff"])
    assert core.requests == []


def test_a_timeout_of_the_caller_holds(core: FakeCore, client: Client) -> None:
    core.on("stop", ...)
    with pytest.raises(TimedOut):
        client.call("stop", ["web"], timeout=0.2)


# Silence and restarts


def test_an_answer_that_takes_long_is_waited_for_while_the_core_lives(core: FakeCore, client: Client) -> None:
    """Its core answers pings for longer than all repetitions of a silent one would take."""
    core.on("stop", ...)
    notices: list[str] = []
    client.on_notice = notices.append
    with pytest.raises(TimedOut):
        client.call("stop", ["web"], timeout=1.2)
    assert notices == []
    assert core.ops().count("stop") == 1
    assert core.ops().count("ping") >= 3


def test_P14_a_restart_of_the_core_is_bridged_with_the_same_request(core: FakeCore, client: Client) -> None:
    core.on("restart", ...)
    notices: list[str] = []
    client.on_notice = notices.append

    def replace() -> None:
        core.until(lambda: "restart" in core.ops())
        core.stop()
        core.on("restart", {"outcomes": [], "ok": True})
        core.start()

    thread = threading.Thread(target=replace)
    thread.start()
    assert client.call("restart", ["web"])["ok"]
    thread.join()
    assert len({request["id"] for request in core.requests if request["op"] == "restart"}) == 1
    assert notices[0] == "the core is restarting"


def test_P14_a_silent_core_is_asked_three_times_more_and_then_counts_as_gone(core: FakeCore) -> None:
    core.on("status", ...).on("ping", ...)
    notices: list[str] = []
    with Client(core.commands, silence=0.1, on_notice=notices.append) as client, pytest.raises(NoCore, match="silent"):
        client.call("status")
    assert core.ops().count("status") == 4
    assert len({request["id"] for request in core.requests if request["op"] == "status"}) == 1
    assert len(notices) == 3
    assert "restarting" in notices[0]


def test_a_core_that_is_gone_for_good_is_said_to_be(core: FakeCore) -> None:
    with Client(core.commands, silence=0.1) as client:
        client.call("ping")
        core.stop()
        with pytest.raises(NoCore, match=r"nobody listens|no such file"):
            client.call("ping")


# Finding


def test_nobody_at_a_socket_is_known_at_once(tmp_path: Path) -> None:
    assert probe(str(tmp_path / "none.sock")) == "no such file"


def test_a_socket_nobody_listens_at_is_told_from_none(core: FakeCore) -> None:
    core.stop()
    Path(core.commands).unlink(missing_ok=True)
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(core.commands)
    assert probe(core.commands) == "nobody listens"


def test_a_path_too_long_for_a_socket_is_said_to_be() -> None:
    assert "too long" in str(probe("/" + "x" * 200))


def test_find_returns_the_socket_in_the_runtime_directory(core: FakeCore) -> None:
    assert find(environ=env_of(core)) == core.commands


def test_find_takes_a_directory_named_by_hand(core: FakeCore) -> None:
    assert find(at=str(core.rundir), environ={}) == core.commands


def test_find_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoCore) as caught:
        find("dev", environ={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)})
    assert f"{tmp_path}/taskmaster/dev/cmd.sock (no such file)" in caught.value.help
    assert "/run/taskmaster/dev/cmd.sock" in caught.value.help
    assert "taskmaster --instance dev up" in caught.value.help


def test_no_core_is_known_within_a_moment(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(NoCore):
        connect(environ={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)})
    assert time.monotonic() - begun < 0.5


# Following


def test_a_subscription_brings_what_is_published(core: FakeCore, client: Client) -> None:
    with client.subscribe(["state"]) as heard:
        core.until(lambda: "state" in core.topics)
        core.publish("state", {"seq": 1})
        assert heard.receive(5) == ("state", {"seq": 1})


def test_a_subscription_is_read_while_a_request_waits(core: FakeCore, client: Client) -> None:
    seen: list[str] = []

    def answer(request: dict[str, object]) -> object:
        core._xpub.send_multipart([b"state", b'{"seq": 1}'])
        return ...

    with client.subscribe(["state"]) as heard:
        core.until(lambda: "state" in core.topics)
        core.on("stop", answer)
        with pytest.raises(TimedOut):
            client.call("stop", ["web"], timeout=0.5, watch=(heard, lambda message: seen.append(message.topic)))
    assert seen == ["state"]


def test_a_message_that_makes_no_sense_is_passed_over() -> None:
    assert module._read_message([b"state", b"{"]) is None
    assert module._read_message([b"state"]) is None


def follow(core: FakeCore, client: Client, count: int, since: int | None = None) -> list[int]:
    """Return the numbers of the next events."""
    found = []
    for each in client.follow_events(since):
        found.append(each["seq"])
        if len(found) == count:
            break
    return found


def journal(core: FakeCore, *seqs: int) -> None:
    core.on("events", lambda request: [event(seq) for seq in seqs if seq > request["args"]["since"]])


def publish_once_asked(core: FakeCore, *seqs: int, beat: int | None = None) -> None:
    """Publish once the client has subscribed and asks the journal."""
    answer = core.answers["events"]

    def tell(request: dict[str, Any]) -> Any:
        found = answer(request)
        for seq in seqs:
            core._xpub.send_multipart([b"event.started", json.dumps(event(seq)).encode()])
        if beat is not None:
            core._xpub.send_multipart([b"beat", json.dumps({"boot": "b1", "seq": beat}).encode()])
        core.answers["events"] = answer
        return found

    def when_subscribed(request: dict[str, Any]) -> Any:
        while not {"event", "beat"} <= core.topics and core._xpub.poll(5000):
            core._subscribed(core._xpub.recv())
        return tell(request)

    core.answers["events"] = when_subscribed


def test_following_starts_with_what_the_journal_has(core: FakeCore, client: Client) -> None:
    journal(core, 5, 6, 7)
    assert follow(core, client, 2, since=5) == [6, 7]


def test_following_gives_published_events_once(core: FakeCore, client: Client) -> None:
    journal(core, 6, 7)
    publish_once_asked(core, 7, 8, 9)
    assert follow(core, client, 4, since=5) == [6, 7, 8, 9]


def test_a_gap_is_filled_from_the_journal(core: FakeCore, client: Client) -> None:
    known = [8]

    def answer(request: dict[str, Any]) -> list[dict[str, Any]]:
        found = [event(seq) for seq in known if seq > request["args"]["since"]]
        known[:] = [8, 9, 10, 11, 12]
        return found

    core.on("events", answer)
    publish_once_asked(core, 12)
    assert follow(core, client, 5, since=7) == [8, 9, 10, 11, 12]


def test_a_beat_tells_of_events_that_got_lost(core: FakeCore, client: Client) -> None:
    known: list[int] = []

    def answer(request: dict[str, dict[str, int]]) -> list[dict[str, object]]:
        found = [event(seq) for seq in known if seq > request["args"]["since"]]
        known.append(8)
        return found

    core.on("events", answer)
    publish_once_asked(core, beat=8)
    assert follow(core, client, 1, since=7) == [8]


def test_following_without_a_number_begins_now(core: FakeCore, client: Client) -> None:
    core.seq = 41
    journal(core, 40, 41, 42)
    assert follow(core, client, 1) == [42]


def test_following_goes_on_with_the_next_core(core: FakeCore, client: Client) -> None:
    journal(core, 8)
    followed = client.follow_events(7)
    assert next(followed)["seq"] == 8
    core.until(lambda: {"event", "beat"} <= core.topics)

    def replaced() -> None:
        core.restart("b2")
        core.until(lambda: "event" in core.topics)
        core.publish("event.started", event(9, boot="b2"))

    thread = threading.Thread(target=replaced)
    thread.start()
    assert next(followed)["boot"] == "b2"
    thread.join()


def _raise(error: Exception) -> object:
    def answer(request: dict[str, object]) -> object:
        raise error

    return answer


def test_clients_of_one_program_do_not_share_ids(core: FakeCore) -> None:
    with Client(core.commands) as one, Client(core.commands) as two:
        one.call("ping")
        two.call("ping")
    assert len({request["id"] for request in core.requests}) == 2
    assert all(len(request["id"]) <= 64 for request in core.requests)
