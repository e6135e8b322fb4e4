"""Give a person's terminal to a job: what it paints comes here, what is typed goes there, until the detach key.

Decides what is sent again after the core was away, and when a picture has to be painted anew; who may type is the
core's affair, what is kept of the screen the shim's. The detach key and everything about the terminal is `screen`.
"""

from __future__ import annotations

import binascii
import os
import sys
from collections import deque
from contextlib import suppress
from json import loads
from time import monotonic
from typing import Any

import zmq

from taskmaster_core.cli.call import Call
from taskmaster_core.cli.screen import CLEAR, Screen, key_bytes, replayed, spellings
from taskmaster_core.client import encode_request
from taskmaster_core.errors import ExitStatus, NoCore, Refused, UsageError
from taskmaster_core.logs.sanitize import clean

RENEW = 2.0
"""Seconds between two words that we are still here; a lease lasts three times as long."""
_SOON, _RETRY = 0.05, 0.5
_AWAY = 2.5
"""Seconds without an answer until the core counts as away."""
_FLOOD = 1 << 15
"""Bytes that come at once when a job paints faster than anybody can read."""
_PIECE = 1 << 13
_HELD = 4096
"""Keys (reads of them) that wait for a core at most."""


def attach(call: Call) -> int:
    """Attach to the terminal of one process."""
    options = call.options
    try:
        key = key_bytes(options.detach_key)
    except ValueError:
        raise UsageError(f"not a control key: {options.detach_key!r}", "write ^] or ctrl+a") from None
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise Refused(
            "attach needs a terminal", "`taskmaster send` types without one, `taskmaster logs -f` shows output"
        )
    lease = os.urandom(12).hex()
    first = {"lease": lease, "write": not options.read_only, "takeover": options.takeover, "redraw": False}
    said, _ = call.ask_raw("attach", [options.process], **first)
    visit = Visit(call, said, lease, key)
    with visit, visit.screen:
        if not call.out.quiet:  # only now: what is typed at the sight of it must find the terminal raw
            visit.screen.show(f"{visit.welcome(said)}\r\n".encode())
        end = visit.stay()
    call.out.hint(end or f"[detached from {clean(visit.key)}: it runs on]")
    return 128 + visit.signal if visit.signal else ExitStatus.DONE


class Typed:
    """Number what is typed, and keep it until it is known to have arrived."""

    def __init__(self) -> None:
        self.number = 0
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=_HELD)

    def add(self, data: bytes) -> int:
        """Keep bytes; return their number."""
        self.number += 1
        self._kept.append((self.number, data))
        return self.number

    def lost(self, heard: int, asked: int) -> list[bytes]:
        """Forget what has arrived, up to `heard`; return all later ones if one up to `asked`, which should, has not."""
        while self._kept and self._kept[0][0] <= heard:
            self._kept.popleft()
        if heard >= asked:
            return []
        left = [data for _, data in self._kept]
        self._kept.clear()
        self.number = heard
        return left

    def forget(self) -> None:
        """Keep nothing: nobody would take it."""
        self._kept.clear()


class Picture:
    """Hold where we are in what the job paints, and what of it is still to be shown."""

    def __init__(self, screen: Screen) -> None:
        self.offset = 0
        self.waiting = bytearray()
        self._screen = screen

    def add(self, offset: int, raw: bytes) -> bool:
        """Take what is new in these bytes; tell whether older ones had to be left out: the terminal is too slow."""
        new = raw[self.offset - offset :]
        self.offset += len(new)
        self.waiting += new
        crowded = len(self.waiting) > _FLOOD << 1
        if crowded:
            del self.waiting[:-_FLOOD]
        return crowded

    def anew(self, offset: int, raw: bytes) -> None:
        """Begin again with an old picture."""
        self.offset = offset + len(raw)
        if raw:
            self.waiting[:] = (CLEAR if offset else b"") + replayed(raw, cut=offset > 0)

    def show(self, most: int) -> None:
        """Paint a piece: keys come first, also where the terminal is slower than the job."""
        if self.waiting:
            self._screen.show(bytes(self.waiting[:most]))
            del self.waiting[:most]


class Visit:
    """Hold one attachment: where we are in the output, and what was typed and may not have arrived."""

    def __init__(self, call: Call, said: dict[str, Any], lease: str, key: bytes) -> None:
        self.key: str = said["key"]
        self.lease = lease
        self.screen = Screen()
        self.signal = 0
        self._places = (call.client.commands, call.client.events)
        self._wants = not call.options.read_only
        self._writes = bool(said["write"])
        self._detach = spellings(key)
        self._name = f"ctrl+{chr(key[0] | 0x40).lower()}"
        self._run = int(said["run"])
        self._typed = Typed()
        self._asks: dict[str, int] = {}
        """Requests to attach that are not answered, and what was typed before each."""
        self._requests = 0
        self._due = 0.0
        self._heard = monotonic()
        self._picture = Picture(self.screen)
        self._redraw_at = 0.0
        self._over_told = 0
        self._fresh = True
        self._takeover = False
        self._end: str | None = None
        self._ended = False

    def welcome(self, said: dict[str, Any]) -> str:
        """Return what is said before anything is painted."""
        if self._writes:
            return f"[attached to {clean(self.key)} · {self._name} detaches]"
        who = f"{clean(said['writer'])} types" if said.get("writer") and self._wants else "read-only"
        return f"[looking at {clean(self.key)}, {who} · {self._name} detaches{' · a takes over' * self._wants}]"

    def __enter__(self) -> None:
        self._context = zmq.Context()
        self._dealer = self._context.socket(zmq.DEALER)
        self._sub = self._context.socket(zmq.SUB)
        for socket, path in ((self._dealer, self._places[0]), (self._sub, self._places[1])):
            socket.linger = 200
            socket.rcvhwm = 100
            socket.reconnect_ivl = 20
            socket.connect(f"ipc://{path}")
        self._sub.subscribe(f"tty.{self.key}")

    def __exit__(self, *error: object) -> None:
        self._ask("detach", {"lease": self.lease})
        self._context.destroy(linger=200)

    # The loop ---------------------------------------------------------------------------------------------------------

    def stay(self) -> str:
        """Pass everything on until the person leaves or the job is over; return what is to be said then."""
        poller = zmq.Poller()
        for each in (self._sub, self._dealer, self.screen.source, self.screen.wake):
            poller.register(each, zmq.POLLIN)
        self._show_title()
        self._renew()  # before any key: the job must have the right size by then
        while not self._ended:
            wait = 0 if self._picture.waiting else max(self._due - monotonic(), 0)
            ready = dict(poller.poll(int(wait * 1000) + 1))
            if self.screen.wake in ready:
                self._heed()
            if self.screen.source in ready:
                self._read()
            if self._sub in ready:
                self._drain(self._sub, self._news)
            if self._dealer in ready:
                self._drain(self._dealer, self._answer)
            if monotonic() >= self._due:
                self._renew()
            self._picture.show(_PIECE)
        if not self.signal and self._end:
            self._picture.show(_FLOOD << 1)
        return self._end or ""

    def _drain(self, socket: zmq.Socket[bytes], take: Any) -> None:
        for _ in range(100):
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            take(frames)

    def _finish(self, text: str | None = None) -> None:
        self._end, self._ended = text, True

    def _heed(self) -> None:
        for number in self.screen.signals():
            if self.screen.ends(number):
                self.signal = number
                self._finish()
            else:  # another size; or we were stopped and go on, in front of a terminal that somebody else has used
                self.screen.raw()
                self._resize()

    # To the core ------------------------------------------------------------------------------------------------------

    def _ask(self, op: str, args: dict[str, Any], select: list[str] | None = None) -> str:
        self._requests += 1
        name = f"{self.lease}-{self._requests}"
        with suppress(zmq.Again):  # no core for long: what matters is asked again
            self._dealer.send_multipart([b"", encode_request(name, op, select or [], args)], zmq.NOBLOCK)
        return name

    def _renew(self) -> None:
        """Say that we are still here, and have what was missed."""
        silent = monotonic() - self._heard
        if silent > _AWAY and not os.path.exists(self._places[0]):
            raise NoCore("the core has ended")
        args = {
            "lease": self.lease,
            "write": self._wants,
            "run": self._run,
            "since": self._picture.offset,
            "redraw": False,
        }
        if self._fresh or self._takeover:
            columns, rows = self.screen.size()
            args |= {"columns": columns, "rows": rows, "redraw": True, "takeover": self._takeover}
        self._asks[self._ask("attach", args, [self.key])] = self._typed.number
        if len(self._asks) > 20:
            del self._asks[next(iter(self._asks))]
        self._due = monotonic() + (_RETRY if silent > _AWAY or self._fresh else RENEW)
        self._takeover = False

    def _again(self) -> None:
        self._due = min(self._due, monotonic() + _SOON)

    def _resize(self, *, redraw: bool = False) -> None:
        columns, rows = self.screen.size()
        self._ask("resize", {"lease": self.lease, "columns": columns, "rows": rows, "redraw": redraw})

    def _read(self) -> None:
        try:
            data = os.read(self.screen.source, 4096)
        except OSError:
            data = b""
        if not data:  # the terminal was closed
            self._finish()
            return
        found = self._detach.search(data)
        before = data[: found.start()] if found else data
        if before:
            self._type(before)
        if found:
            self._finish()

    def _type(self, data: bytes) -> None:
        if self._writes:
            text = binascii.b2a_base64(data, newline=False).decode("ascii")
            number = self._typed.add(data)
            self._ask("input", {"lease": self.lease, "run": self._run, "n": number, "data": text})
        elif self._wants and data in (b"a", b"A"):
            self._takeover = True
            self._renew()

    # From the core ----------------------------------------------------------------------------------------------------

    def _answer(self, frames: list[bytes]) -> None:
        self._heard = monotonic()
        body = loads(frames[1])
        asked = self._asks.pop(body["id"], None)
        if asked is None:
            if not body["ok"]:
                self._again()  # another core, which does not know us, or somebody else types now
        elif body["ok"]:
            self._attached(body["result"], frames[2] if len(frames) > 2 else b"", asked)
        else:
            self._finish(f"[{clean(self.key)}: {clean(body['error']['message'])}]")

    def _attached(self, said: dict[str, Any], raw: bytes, asked: int) -> None:
        self._standing(bool(said["write"]))
        if said["waiting"]:
            self._fresh = True
            return
        if said["run"] != self._run:
            self._run, self._typed = said["run"], Typed()
            self._picture.anew(said["offset"], raw)
            self._resize()
        elif self._fresh and not self._picture.offset:  # else news has overtaken this answer
            self._picture.anew(said["offset"], raw)
        elif said["offset"] > self._picture.offset:
            self._picture.anew(said["offset"], raw)
            self._resize_soon()
        else:
            self._paint(said["offset"], raw)
        self._fresh = False
        for data in self._typed.lost(said["heard"], asked):
            self._type(data)

    def _standing(self, writes: bool) -> None:
        if writes != self._writes:
            self._writes = writes
            self._typed.forget()
            self._show_title()
            self._resize(redraw=writes)

    def _show_title(self) -> None:
        more = "" if self._writes else " · looking on" + ", a takes over" * self._wants
        self.screen.title(f"{clean(self.key)} · {self._name} detaches{more}")

    def _news(self, frames: list[bytes]) -> None:
        said = loads(frames[1])
        if said.get("key") != self.key:
            return  # web:10 begins like web:1
        self._heard = monotonic()
        if len(frames) > 2:
            self._output(said["run"], said["offset"], frames[2])
        elif "ended" in said:
            self._over(said)
        elif "choked" in said:
            self.screen.show(b"\x07")
        else:
            self._again()  # another run, or another one who types

    def _output(self, run: int, offset: int, raw: bytes) -> None:
        missed = offset > self._picture.offset
        if run == self._run and missed and len(raw) >= _FLOOD:
            self._picture.offset = offset  # more is painted than anybody can see: what was left out is not asked for
            self._paint(offset, raw)
            self._resize_soon()
        elif run != self._run or missed:
            self._again()
        else:
            self._paint(offset, raw)

    def _resize_soon(self) -> None:
        """Have the job paint itself anew; it costs it something, so not too often."""
        if monotonic() >= self._redraw_at:
            self._redraw_at = monotonic() + _RETRY
            self._resize(redraw=True)

    def _over(self, said: dict[str, Any]) -> None:
        if said["run"] == self._over_told:
            return  # what the run left behind has ended too
        self._over_told = said["run"]
        end = said["ended"]
        how = f"with code {end['code']}" if "code" in end else f"by signal {end.get('signal', '?')}"
        text = f"[{clean(self.key)} ended {how}"
        if said["over"]:
            self._finish(text + f" and is {said['state']}]")
        else:
            self._picture.waiting += f"\r\n{text}; it will be started again · {self._name} detaches]\r\n".encode()

    def _paint(self, offset: int, raw: bytes) -> None:
        if self._picture.add(offset, raw):
            self._resize_soon()
