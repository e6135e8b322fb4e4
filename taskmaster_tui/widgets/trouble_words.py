"""The words for each phase of the connection: what is wrong, whether the jobs are safe, what to do next.

It decides wording only: it is given what is known and asks nobody. The card about the connection paints it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from taskmaster_tui.link import Health, Phase
from taskmaster_tui.model import fmt
from taskmaster_tui.widgets.bar import Piece

Line = list[Piece]

PATIENCE = 2.0
"""Seconds of connecting before the step is told: below that it is just a start."""

_NAMED = 4
"""Orphans that are named; the others are counted."""


class Known(NamedTuple):
    """Hold what the words are made of, beside the health of the connection."""

    since: float
    """Seconds that the phase lasts."""
    now: float
    as_of: float = 0.0
    """When the last state was true; 0 if none is known."""
    jobs: int = 0
    shim: int = 0
    """The pid of the shim in the last state."""
    ran: int = 0
    """How many processes ran then."""
    orphans: Sequence[tuple[str, int]] = ()
    """Which of them still run although core and shim are gone."""
    words: Sequence[str] = ()
    """The last lines the core wrote."""
    config: str | None = None
    """The file a core would be started with, "" if there is none, None if that is not known yet."""
    problems: Sequence[Mapping[str, Any]] = ()
    text: Sequence[str] = ()
    """The lines of the file that the first problem is in."""


def told(health: Health, known: Known) -> list[Line]:
    """Return the lines for a phase, none where nothing is wrong."""
    says = _SAYS.get(health.phase)
    if says is None or (health.phase is Phase.CONNECTING and known.since < PATIENCE):
        return []
    lines = list(says(health, known))
    if known.jobs and known.as_of:
        lines.append(_line(f"Below is the last known state, as of {fmt.when(known.as_of, known.now)}.", "dim"))
    return lines


def title(health: Health, known: Known) -> str:
    """Return the heading of the card."""
    if health.phase is Phase.NO_CORE:
        return "Core and shim are gone" if lost(known) else "No core"
    return _TITLES.get(health.phase, "Connection")


_TITLES = {Phase.DENIED: "Permission denied", Phase.CORE_GONE: "The core is gone"}


def lost(known: Known) -> bool:
    """Tell whether a core ended that did not stop its jobs before."""
    return known.ran > 0


def _line(text: str, role: str = "") -> Line:
    return [Piece(f"  {text}", role)]


def _connecting(health: Health, known: Known) -> Iterable[Line]:
    yield _line(f"Connecting for {fmt.age(known.since)}: {health.step or 'looking for a core'}.")
    yield from _where(health)


def _reconnecting(health: Health, known: Known) -> Iterable[Line]:
    yield _line(f"The core does not answer (for {fmt.age(known.since)}). Your jobs do not depend on this connection.")
    yield _line(health.detail or health.step or "Trying again, for ever.")


def _core_gone(health: Health, known: Known) -> Iterable[Line]:
    pid = f" (pid {health.shim_pid})" if health.shim_pid else ""
    yield _line(f"The core is not answering (for {fmt.age(known.since)}).")
    yield _line(f"Your jobs are still running: the shim{pid} is alive and keeps their output.")
    yield _line("It brings the core back; actions wait until then, filter, search and logs still work.")
    yield from _last_words(known)


def _no_core(health: Health, known: Known) -> Iterable[Line]:
    if lost(known):
        yield from _lost(known)
    else:
        yield _line("No core is running here, so no jobs are looked after.")
        yield from _where(health)
    if known.problems:
        yield from _broken(known)
    elif known.config is not None and not lost(known):
        yield _line(
            f"Its config would be {known.config}." if known.config else "There is no config file yet: add a job."
        )


def _lost(known: Known) -> Iterable[Line]:
    shim = f" (pid {known.shim})" if known.shim else ""
    yield _line(f"The core and its shim{shim} ended without stopping the jobs.", "failed")
    if known.orphans:
        yield from _orphans(known.orphans)
    else:
        yield _line(f"None of the {fmt.count(known.ran)} processes that ran then is alive." if known.ran > 1
                    else "The process that ran then is not alive.")  # fmt: skip
    yield from _last_words(known)


def _orphans(found: Sequence[tuple[str, int]]) -> Iterable[Line]:
    what = "process still runs and nobody looks after it" if len(found) == 1 else (
        "processes still run and nobody looks after them")  # fmt: skip
    yield _line(f"{fmt.count(len(found))} {what}:", "failed")
    more = f" and {fmt.count(len(found) - _NAMED)} more" if len(found) > _NAMED else ""
    yield _line(f"{', '.join(f'{key} (pid {pid})' for key, pid in found[:_NAMED])}{more}", "failed")
    yield _line("A new core adopts or ends what it finds, before it starts anything.")


def _last_words(known: Known) -> Iterable[Line]:
    if known.words:
        yield _line("The core's last words:", "dim")
        yield from (_line(f"  {line}", "err") for line in known.words)


def _denied(health: Health, _: Known) -> Iterable[Line]:
    yield _line("A core is there, but you may not speak to it.")
    yield _line(health.detail)


def _where(health: Health) -> Iterable[Line]:
    if health.where:
        yield _line(f"Looked at {', '.join(health.where)}.")


_SAYS: dict[Phase, Callable[[Health, Known], Iterable[Line]]] = {
    Phase.CONNECTING: _connecting, Phase.RECONNECTING: _reconnecting, Phase.CORE_GONE: _core_gone,
    Phase.NO_CORE: _no_core, Phase.DENIED: _denied,
}  # fmt: skip


# A config that cannot be started -------------------------------------------------------------------------------------


def _broken(known: Known) -> Iterable[Line]:
    count = len(known.problems)
    what = f"{fmt.count(count)} mistakes" if count > 1 else "a mistake"
    yield _line(f"Its config {known.config} has {what}; nothing can be started:", "failed")
    yield [Piece("")]
    first = known.problems[0]
    yield _line(f"{first.get('code', '')} {first.get('message', '')}", "error")
    yield from _in_context(first, known.text)
    if first.get("help"):
        yield _line(f"= help: {first['help']}", "good")
    if count > 1:
        yield _line(f"… and {fmt.count(count - 1)} more (taskmaster check)", "dim")
    yield _line("Mend it and save: this is read again by itself.", "dim")


def _in_context(problem: Mapping[str, Any], text: Sequence[str]) -> Iterable[Line]:
    """Yield the line of a problem with the one before and after it, and a caret below."""
    number, column = int(problem.get("line") or 0), max(int(problem.get("column") or 1), 1)
    if not 1 <= number <= len(text):
        return
    wide = len(str(number + 1))
    for each in range(max(number - 1, 1), min(number + 1, len(text)) + 1):
        shown = text[each - 1].expandtabs(4)
        yield [Piece(f"  {each:>{wide}} │ ", "dim"), Piece(shown, "" if each == number else "dim")]
        if each == number:
            before = len(text[each - 1][: column - 1].expandtabs(4))
            carets = "^" * len(_TOKEN.match(shown, before)[0])  # type: ignore[index]  # it matches the empty text too
            yield [Piece(f"  {'':>{wide}} │ ", "dim"), Piece(f"{' ' * before}{carets or '^'}", "error", bold=True)]


_TOKEN = re.compile(r'"[^"]*"?|\'[^\']*\'?|[\w.\-]*')
