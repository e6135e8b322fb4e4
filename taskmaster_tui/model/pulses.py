"""Turn jobs and processes into small charts: what the Metrics view shows.

Decides the order, the numbers and the scale. Paints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskmaster_tui.model import fmt
from taskmaster_tui.model.history import History
from taskmaster_tui.model.words import GLYPHS
from taskmaster_tui.model.world import Job, Proc, World

SECONDS = 300
"""Of history in a small chart."""

LEAST_CPU, LEAST_MEMORY = 10.0, 16.0 * 2**20
"""The least top of a scale: noise must not look like work."""


class Pulses:
    """Be a source of small charts."""

    def __init__(self, world: World, glyphs: str = "unicode") -> None:
        self.world = world
        self.glyphs = glyphs
        self.kind = "cpu"
        self.by_share = True
        self.by_process = False
        self.now = 0.0
        self._ids: list[str] = []

    def rebuild(self) -> None:
        """Decide anew what is shown and in which order."""
        things: list[tuple[str, Job | Proc]] = []
        for job in self.world.jobs.values():
            things += [(key, proc) for key, proc in job.procs.items()] if self.by_process else [(job.name, job)]
        if self.by_share:
            things.sort(key=lambda each: -self._amount(each[1]))
        self._ids = [row_id for row_id, _ in things]

    def _amount(self, thing: Job | Proc) -> float:
        return float((thing.cpu if self.kind == "cpu" else thing.rss) or 0.0)

    @property
    def window(self) -> int:
        """Return how many seconds the charts show, the same for all, so that they can be compared."""
        return max((job.history.window(SECONDS) for job in self.world.jobs.values()), default=60)

    def ids(self) -> Sequence[str]:
        """Return what is shown."""
        return self._ids

    def thing(self, row_id: str | None) -> Job | Proc | None:
        """Return the job or process of an id."""
        return self.world.proc(row_id or "") or self.world.jobs.get(row_id or "")

    def pulse(self, row_id: str) -> tuple[Sequence[tuple[str, str]], str, Sequence[float], float | None, str]:
        """Return title, note, values, the top of the scale, and the role."""
        thing = self.thing(row_id)
        if thing is None:
            return [(fmt.plain(row_id), "dim")], "", [], None, "dim"
        look = thing.look(self.now)
        title = [(f"{GLYPHS[self.glyphs][look.glyph]} ", look.role), (fmt.plain(row_id), "")]
        note = f"{fmt.percent(thing.cpu).strip()} {fmt.size(thing.rss).strip()}"
        values = self.values(thing.history)
        least = LEAST_CPU if self.kind == "cpu" else LEAST_MEMORY
        return title, note, values, max([least, *(value for value in values if value == value)]), "accent"  # noqa: PLR0124

    def values(self, history: History) -> list[float]:
        """Return the history that is shown."""
        read = history.cpu if self.kind == "cpu" else history.rss
        return read(self.window, self.now)
