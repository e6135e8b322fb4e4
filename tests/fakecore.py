"""A core for the tests of clients: answers by script, records what it was asked, publishes what it is told.

It decides nothing; a test says what each operation answers. It speaks the wire by itself (docs/protocol.md).
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from taskmaster_core.errors import TaskmasterError

Answerer = Callable[[dict[str, Any]], Any]


class Raw:
    """A result with bytes beside it."""

    def __init__(self, result: Any, data: bytes) -> None:
        self.result = result
        self.data = data


def process(key: str, state: str = "running", **more: Any) -> dict[str, Any]:
    index = int(key.rpartition(":")[2])
    pid = 4000 + index if state in ("running", "starting", "stopping") else None
    now = time.time()
    base = {
        "key": key, "index": index, "state": state, "goal": "up", "pid": pid, "run": 1, "since": now - 100,
        "started_at": now - 100 if pid else None, "tries": 0, "next_start_at": None, "exit": None, "reason": "",
        "generation": 1, "restarts": 0, "lingering": 0, "held": False, "ready": None, "cpu": None, "rss": None,
    }  # fmt: skip
    return base | more


def job(name: str, *processes: dict[str, Any], **more: Any) -> dict[str, Any]:
    worst = ("fatal", "unknown", "backoff", "stopping", "pending", "starting", "stopped", "exited", "running")
    states = {each["state"] for each in processes}
    state = next((each for each in worst if each in states), "stopped")
    base = {"name": name, "state": state, "goal": "up", "numprocess": len(processes), "restarts": 0, "spec": {}}
    return base | {"processes": list(processes)} | more


def status(*jobs: dict[str, Any], **core: Any) -> dict[str, Any]:
    base = {
        "version": "0.1.0", "pid": 11, "shim_pid": 2**22 + 5, "boot": "b1", "started_at": time.time(), "generation": 1,
        "config": ["/etc/t.toml"], "config_problems": [], "instance": "default", "statedir": "/s", "seq": 7,
        "troubles": [], "stopping": False, "autoreload": "apply", "pending": 0,
    }  # fmt: skip
    return {"schema": "taskmaster.status/1", "core": base | core, "jobs": list(jobs)}


def done(*outcomes: tuple[str, str] | dict[str, Any], ok: bool = True) -> dict[str, Any]:
    made = [each if isinstance(each, dict) else {"key": each[0], "ok": True, "state": each[1]} for each in outcomes]
    return {"outcomes": made, "ok": ok}


def event(seq: int, type_: str = "started", key: str = "web:0", boot: str = "b1", **data: Any) -> dict[str, Any]:
    cause = {"kind": "operator", "request": "r", "who": "uid 0 pid 1"}
    return {"seq": seq, "boot": boot, "at": 1764000000.0 + seq, "type": type_, "key": key, "cause": cause, "data": data}


class FakeCore:
    """Two sockets in a directory short enough for them, and a thread."""

    def __init__(self, directory: Path | None = None) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
        self.rundir = directory or self.home / "run" / "taskmaster" / "default"
        self.rundir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.commands = str(self.rundir / "cmd.sock")
        self.boot = "b1"
        self.requests: list[dict[str, Any]] = []
        self.answers: dict[str, Answerer] = {"ping": self._pong}
        self.topics: set[str] = set()
        self.on_topics: Callable[[set[str]], None] = lambda topics: None
        self.seq = 7
        self.ahead = 0.0
        """Seconds by which its clock is ahead of that of its clients."""
        self._context = zmq.Context()
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._bell, self._ringer = os.pipe()
        self._thread: threading.Thread | None = None

    # Life

    def start(self) -> FakeCore:
        up = threading.Event()
        self._running = True
        self._thread = threading.Thread(target=self._serve, args=(up,), daemon=True)
        self._thread.start()
        assert up.wait(5)
        return self

    def stop(self) -> None:
        if self._thread is not None:
            self._do(self._end)
            self._thread.join(5)
            self._thread = None
            for name in ("cmd.sock", "evt.sock"):  # as the core does at a clean end
                (self.rundir / name).unlink(missing_ok=True)

    def restart(self, boot: str = "b2") -> None:
        self.stop()
        self.boot = boot
        self.start()

    def close(self) -> None:
        self.stop()
        self._context.destroy(linger=0)
        os.close(self._bell)
        os.close(self._ringer)
        shutil.rmtree(self.home, ignore_errors=True)

    def _end(self) -> None:
        self._running = False

    # Script

    def on(self, op: str, answer: Any) -> FakeCore:
        """Answer an operation with a value, an error to raise, or what a function of the request returns."""
        self.answers[op] = answer if callable(answer) else lambda request: answer
        return self

    def ops(self) -> list[str]:
        return [request["op"] for request in self.requests]

    def last(self, op: str) -> dict[str, Any]:
        return [request for request in self.requests if request["op"] == op][-1]

    def publish(self, topic: str, body: dict[str, Any]) -> None:
        self._do(lambda: self._xpub.send_multipart([topic.encode(), json.dumps(body).encode()]))

    def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not in {seconds} s; requests: {self.requests}, topics: {self.topics}"
            time.sleep(0.005)

    def _pong(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"version": "0.1.0", "boot": self.boot, "seq": self.seq, "pid": 11, "now": time.time() + self.ahead}

    # Thread

    def _do(self, work: Callable[[], object]) -> None:
        self._inbox.put(work)
        os.write(self._ringer, b".")

    def _serve(self, up: threading.Event) -> None:
        self.topics.clear()
        router, self._xpub = self._context.socket(zmq.ROUTER), self._context.socket(zmq.XPUB)
        router.bind(f"ipc://{self.commands}")
        self._xpub.bind(f"ipc://{self.rundir}/evt.sock")
        poller = zmq.Poller()
        for socket in (router, self._xpub, self._bell):
            poller.register(socket, zmq.POLLIN)
        up.set()
        while self._running:
            ready = dict(poller.poll())
            if self._bell in ready:
                os.read(self._bell, 4096)
            while not self._inbox.empty():
                self._inbox.get()()
            if router in ready:
                self._answer(router)
            while self._xpub.poll(0):
                self._subscribed(self._xpub.recv())
        router.close(linger=0)
        self._xpub.close(linger=0)

    def _answer(self, router: zmq.Socket[bytes]) -> None:
        peer, empty, frame = router.recv_multipart()
        request = json.loads(frame)
        self.requests.append(request)
        reply: dict[str, Any] = {"v": 1, "id": request["id"]}
        raw: list[bytes] = []
        try:
            result = self.answers[request["op"]](request)
        except TaskmasterError as error:
            body = {"code": error.code, "message": error.message, "help": error.help}
            reply |= {"ok": False, "error": body | {"detail": getattr(error, "detail", None)}}
        else:
            if result is Ellipsis:
                return  # silence
            if isinstance(result, Raw):
                result, raw = result.result, [result.data]
            reply |= {"ok": True, "result": result}
        router.send_multipart([peer, empty, json.dumps(reply).encode(), *raw])

    def _subscribed(self, frame: bytes) -> None:
        topic = frame[1:].decode()
        (self.topics.add if frame[0] else self.topics.discard)(topic)
        self.on_topics(self.topics)
