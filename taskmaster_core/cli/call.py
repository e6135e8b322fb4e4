"""Hold one call of a command: its options, where it prints, and the core it asks.

It decides how a client is made (only when a handler wants one) and what global options mean. `main` makes a call for
every command line, the shell for every line; handlers take it as their only argument.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from time import monotonic
from typing import TYPE_CHECKING, Any

from taskmaster_core.cli.out import Out
from taskmaster_core.errors import NoCore, NotAsAsked, Refused, UsageError
from taskmaster_core.logs.sanitize import clean
from taskmaster_core.paths import DEFAULT_INSTANCE

if TYPE_CHECKING:  # zmq is 27 ms; what needs no core does not load it
    from taskmaster_core.client import Client, Watch

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")


def duration(text: str) -> float:
    """Return the seconds that `30`, `500ms` or `1m30s` means; raise UsageError for anything else."""
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"not a length of time: {text!r}", "write seconds, or 500ms, 1m30s, 24h")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class Call:
    """Hold the options of a command line and what its handler needs."""

    def __init__(self, options: Namespace, out: Out, client: Client | None = None) -> None:
        self.options = options
        self.out = out
        self.shared = client is not None
        """Whether this is a line of the shell: its client is not ours to close."""
        self._client = client

    @property
    def instance(self) -> str:
        """Return the instance's name."""
        return self.options.instance or DEFAULT_INSTANCE

    @property
    def timeout(self) -> float | None:
        """Return --timeout in seconds."""
        return None if self.options.timeout is None else duration(self.options.timeout)

    @property
    def selectors(self) -> list[str]:
        """Return the selectors that were given."""
        return list(getattr(self.options, "selectors", []))

    @property
    def config(self) -> list[str]:
        """Return the config files that were named, absolute."""
        return [os.path.abspath(path) for path in self.options.config or []]

    @property
    def client(self) -> Client:
        """Return the client; raise NoCore when nobody answers."""
        if self._client is None:
            self._client = self._connect()
            if self.out.verbose:
                self.out.complain(f"core at {self._client.commands}")
        return self._client

    @property
    def connected(self) -> Client | None:
        """Return the client if there is one already."""
        return self._client

    def _connect(self) -> Client:
        from taskmaster_core import client  # noqa: PLC0415  # see above

        if self.options.host:
            return self._connect_far(self.options.host)
        try:
            return client.connect(self.instance, self.options.socket, on_notice=self.out.hint)
        except NoCore:
            from taskmaster_core.cli import rescue  # noqa: PLC0415  # only where there is something to rescue

            path = None if self.options.socket else rescue.rebound(self.instance, self.config)
            if path is None:
                raise
            return client.Client(path, on_notice=self.out.hint)

    def _connect_far(self, name: str) -> Client:
        from taskmaster_core import client  # noqa: PLC0415  # see above
        from taskmaster_core.cli import host  # noqa: PLC0415  # only who leaves this machine needs keys

        if self.options.socket:
            raise UsageError("--host and --socket name two different cores")
        address, curve = host.known(name)
        if reason := client.probe(address):
            raise NoCore(f"nobody answers at {address}: {reason}", "does the core there have `listen`?")
        return client.Client(address, on_notice=self.out.hint, curve=curve)

    def ask(self, op: str, select: list[str] | None = None, *, watch: Watch | None = None, **args: Any) -> Any:
        """Return the core's answer to an operation on the selected."""
        return self.ask_raw(op, select, watch=watch, **args)[0]

    def ask_raw(
        self, op: str, select: list[str] | None = None, *, watch: Watch | None = None, **args: Any
    ) -> tuple[Any, bytes]:
        """Return the core's answer and the bytes that came with it."""
        began = monotonic()
        # What waits is timed by the core, which then tells how far it came; a second more for its answer to arrive.
        limit = None if self.timeout is None else self.timeout + ("timeout" in args)
        chosen = self.selectors if select is None else select
        try:
            answer = self.client.call_raw(op, chosen, args, timeout=limit, watch=watch)
        except Refused as error:
            if not self._confirmed(error, args):
                raise
            answer = self.client.call_raw(op, chosen, args | {"confirmed": True}, timeout=limit, watch=watch)
        if self.out.verbose:
            self.out.complain(f"{op} took {(monotonic() - began) * 1000:.1f} ms")
        return answer

    def _confirmed(self, error: Refused, args: dict[str, Any]) -> bool:
        """Tell whether what the core wants confirmed is: by -y, or by a person at a terminal, who is asked now."""
        detail = getattr(error, "detail", None)
        names = detail.get("protected") if isinstance(detail, dict) else None
        if not names or args.get("confirmed") or not (self.options.yes or sys.stdin.isatty()):
            return False
        self.confirm(f"{clean(error.message)}. Do it all the same?")
        return True

    def confirm(self, question: str) -> None:
        """Ask a person on a terminal, unless -y was given; raise NotAsAsked for a no."""
        if self.options.yes or not sys.stdin.isatty():
            return
        self.out.stderr.write(f"{question} [y/N] ")
        self.out.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise NotAsAsked("nothing was changed")

    def close(self) -> None:
        """Drop the connection, unless it is the shell's."""
        if self._client is not None and not self.shared:
            self._client.close()
