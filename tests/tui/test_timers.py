"""A timer that rings once rings, however busy the machine is."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat
from typing import Any

import pytest
from textual.app import App
from textual.message_pump import MessagePump

from taskmaster_tui import _textual_compat


async def ring(monkeypatch: pytest.MonkeyPatch) -> bool:
    """Set a timer, let its thread lose the processor for a second between two looks at the clock; tell if it rang."""
    rung = asyncio.Event()
    async with App[None]().run_test() as pilot:
        looks = chain([0.0, 1.0], repeat(1.0))
        monkeypatch.setattr("textual.timer._time.get_time", lambda: next(looks))
        timer: Any = pilot.app.set_timer(0.01, rung.set)
        async with asyncio.timeout(5):
            await timer._task
            monkeypatch.undo()
            await pilot.pause()
    return rung.is_set()


async def test_what_is_to_ring_once_rings_though_it_is_overdue_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _textual_compat.known()
    assert await ring(monkeypatch)


async def test_without_ours_the_same_timer_never_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say when Textual has mended it, and ours can go."""
    ours: Any = MessagePump.set_timer
    monkeypatch.setattr(MessagePump, "set_timer", ours.__wrapped__)
    assert not await ring(monkeypatch)
