"""Let in whom the config lets in: give roles, and open or shut the door for other machines.

It decides nothing but when: at the start, and at every reload that changes `[taskmaster.access]`. The daemon calls it;
what a role may is in `access`, who is behind a name in `users`.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from taskmaster_core.access import grants
from taskmaster_core.errors import TaskmasterError
from taskmaster_core.runtime import Runtime
from taskmaster_core.server import Server
from taskmaster_core.spec import Access
from taskmaster_core.users import members

if TYPE_CHECKING:
    from taskmaster_core.remote import Door


class Admission:
    """Hold the door that is open, if one is."""

    def __init__(
        self, runtime: Runtime, poll: select.epoll, socketgroup: int | None, tell: Callable[[str, str], None]
    ) -> None:
        self._runtime = runtime
        self._poll = poll
        self._socketgroup = socketgroup
        self._tell = tell
        self._door: Door | None = None

    def follow(self, lists: Access) -> None:
        """Give roles as the lists say now; whoever has lost one is refused from here on."""
        server = self._runtime.server
        if server is not None:
            able, reading = members(lists.operators), members(lists.readers)
            server.grants = grants(os.geteuid(), able, reading, self._socketgroup)
            self._listen(server, lists.listen)

    def _listen(self, server: Server, address: str | None) -> None:
        door = self._door
        if address == (door.address if door is not None else None):
            return
        if door is not None:
            self._poll.unregister(door.fds[0])
            door.close()
        self._door = server.remote = None
        trouble = ""
        if address is not None:
            trouble = self._open(server, address)
        self._tell("remote", trouble)

    def _open(self, server: Server, address: str) -> str:
        """Open the door; return why that cannot be, and leave it shut."""
        from taskmaster_core.remote import Door  # noqa: PLC0415  # libzmq, 6 MB: only where somebody listens

        statedir = self._runtime.facts.setting.places.statedir
        try:
            self._door = Door(address, statedir, server.receive, lambda text: self._tell("keys", text))
        except (TaskmasterError, OSError) as error:
            return f"nobody of another machine is let in: {error}"
        server.remote = self._door
        self._poll.register(self._door.fds[0], select.EPOLLIN)
        return ""
