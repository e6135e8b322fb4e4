"""Orders about what people do with a running job: type to it, look at its terminal, give that another size.

Decides how each is answered; a run that has ended, or has no terminal, is answered too, because somebody waits for it.
"""

from __future__ import annotations

import binascii

from terminals import Terminal, as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corelife import CoreLife
    from house import House

    Order = dict[str, Any]

_LEASES = 16  # per run: so many who typed are remembered


class Visits:
    """Carry out the orders of one house."""

    def __init__(self, house: House, core: CoreLife) -> None:
        self._house = house
        self._core = core
        self._heard: dict[tuple[str, int], dict[str, int]] = {}
        self.table: dict[str, Callable[[Order], None]] = {
            "input": self._input,
            "attend": self._attend,
            "screen": self._screen,
            "resize": self._resize,
        }

    def forget(self) -> None:
        """Tell nobody any more: another core has come, which knows best who is attached."""
        for run in self._house.runs.values():
            terminal = run.streams.get("out")
            if isinstance(terminal, Terminal):
                terminal.attend(False)

    def _terminal(self, order: Order) -> Terminal | None:
        run = self._house.runs.get((order["key"], order["run"]))
        terminal = run.streams.get("out") if run is not None else None
        return terminal if isinstance(terminal, Terminal) else None

    def _input(self, order: Order) -> None:
        data = binascii.a2b_base64(order["data"])
        why = "" if self._heard_already(order) else self._put(order, data)
        if order.get("id"):
            self._core.say({"t": "took", "id": order["id"], "why": why})
        elif why:
            self._core.say({"t": "choked", "key": order["key"], "run": order["run"], "why": why})

    def _put(self, order: Order, data: bytes) -> str:
        inlet = self._house.inlets.get((order["key"], order["run"]))
        if inlet is None:
            return "it has ended, or has no input"
        return inlet.put(data, end=bool(order.get("end")))

    def _heard_already(self, order: Order) -> bool:
        """Tell whether this was typed before, or comes before its turn.

        A viewer that lost the core sends again, from where the last screen says, what nobody may have typed.
        """
        if not order.get("lease"):
            return False
        name = (order["key"], order["run"])
        if name not in self._heard:
            self._heard = {each: seen for each, seen in self._heard.items() if each in self._house.runs}
        heard = self._heard.setdefault(name, {})
        number = int(order["n"])
        if number != heard.get(order["lease"], 0) + 1:
            return True
        heard.pop(order["lease"], None)
        heard[order["lease"]] = number
        if len(heard) > _LEASES:
            del heard[next(iter(heard))]
        return False

    def _attend(self, order: Order) -> None:
        if order.get("lease"):  # from a core that outlived the shim before us, which had heard him
            heard = self._heard.setdefault((order["key"], order["run"]), {})
            heard.setdefault(order["lease"], int(order["heard"]))
        terminal = self._terminal(order)
        if terminal is not None:
            terminal.attend(bool(order["on"]))

    def _screen(self, order: Order) -> None:
        """Answer with the last screen, and tell what comes after it."""
        name = (order["key"], order["run"])
        run, terminal = self._house.runs.get(name), self._terminal(order)
        told: Order = {"t": "screen", "id": order["id"], "key": name[0], "run": name[1], "gone": terminal is None}
        if terminal is not None:
            terminal.attend(True)
            start, data = terminal.since(int(order.get("since") or 0))
            heard = self._heard.get(name, {}).get(order.get("lease") or "", 0)
            told |= {"offset": start, "data": as_text(data), "heard": heard, "size": terminal.size}
        elif run is not None and not run.told:
            told["bare"] = True  # it lives, and its terminal does not
        self._core.say(told)

    def _resize(self, order: Order) -> None:
        terminal = self._terminal(order)
        if terminal is None:
            return
        if order.get("columns"):
            terminal.resize(int(order["columns"]), int(order["rows"]), redraw=bool(order.get("redraw")))
        else:
            terminal.redraw()
