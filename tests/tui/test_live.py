"""Live frames: gathered, bounded, and never in the way of a key."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App, ComposeResult
from textual.widget import Widget

from taskmaster_tui._textual_compat import Governed
from taskmaster_tui.governor import Governor
from taskmaster_tui.live import Live, live_of


class Counter(Widget, can_focus=True):
    painted = 0
    fails = False

    def paint_live(self) -> None:
        if self.fails:
            raise ValueError("no paint")
        self.painted += 1
        self.refresh()


class Plain(App[None]):
    def compose(self) -> ComposeResult:
        yield Counter(id="a")
        yield Counter(id="b")


class Own(Governed):
    compose = Plain.compose


async def until(condition, deadline: float = 5.0) -> None:
    end = asyncio.get_running_loop().time() + deadline
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)


async def test_many_requests_are_at_most_fifteen_frames_a_second():
    async with Plain().run_test() as pilot:
        one, live = pilot.app.query_one("#a", Counter), live_of(pilot.app.query_one("#a"))
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (took := loop.time() - began) < 0.5:
            live.request(one)
            await asyncio.sleep(0.001)
        assert 2 <= one.painted <= took * 15 + 1


async def test_requests_of_several_widgets_make_one_frame():
    async with Plain().run_test() as pilot:
        one, two = pilot.app.query(Counter)
        live = live_of(one)
        before = live.governor.frames
        for _ in range(10):
            live.request(one)
            live.request(two)
        await until(lambda: two.painted)
        assert (one.painted, two.painted, live.governor.frames - before) == (1, 1, 1)


async def test_no_timer_runs_when_nothing_is_requested():
    async with Plain().run_test() as pilot:
        one = pilot.app.query_one("#a", Counter)
        live = live_of(one)
        assert live._timer is None
        live.request(one)
        await until(lambda: one.painted)
        assert live._timer is None


async def test_the_first_request_after_a_pause_is_painted_at_once():
    async with Plain().run_test() as pilot:
        one = pilot.app.query_one("#a", Counter)
        live_of(one).request(one)
        assert live_of(one).governor.delay() == 0


async def test_an_app_without_live_gets_a_plain_one_and_keeps_it():
    async with Plain().run_test() as pilot:
        one, two = pilot.app.query(Counter)
        assert live_of(one) is live_of(two)


async def test_an_app_s_own_live_is_the_one_that_counts():
    app = Own(fps=3)
    async with app.run_test():
        assert live_of(app.query_one("#a")) is app.live
        assert app.live.governor.cap == 3


async def test_requests_wait_while_a_frame_is_under_way_and_go_when_it_is_answered():
    governor = Governor()
    governor.asking = True
    live = Live(governor)
    async with Plain().run_test() as pilot:
        one = pilot.app.query_one("#a", Counter)
        live.request(one)
        await until(lambda: one.painted == 1)
        number = governor.question()
        assert number is not None
        live.request(one)
        await asyncio.sleep(0.15)
        assert (one.painted, live.waiting) == (1, 1)
        governor.answered(number)
        await until(lambda: one.painted == 2, 0.5)
        live.close()


async def test_a_key_s_paint_is_not_held_by_a_frame_under_way():
    shown = []

    class Keyed(Own):
        def on_key(self) -> None:
            self.query_one("#a").refresh()

        def post_display_hook(self) -> None:
            shown.append(1)

    app = Keyed()
    async with app.run_test() as pilot:
        governor = app.governor
        governor.asking = True
        governor.painted()
        assert governor.question() is not None
        before = len(shown)
        await pilot.press("x")
        await until(lambda: len(shown) > before, 1)
        assert governor.in_flight


async def test_a_widget_that_left_meanwhile_is_passed_over():
    async with Plain().run_test() as pilot:
        one, two = pilot.app.query(Counter)
        live_of(two).request(one)
        await one.remove()
        live_of(two).request(two)
        await until(lambda: two.painted)
        assert one.painted == 0


async def test_flush_paints_what_waits_whatever_the_rate():
    async with Plain().run_test() as pilot:
        one = pilot.app.query_one("#a", Counter)
        live = live_of(one)
        for _ in range(3):
            live.request(one)
            live.flush()
            await pilot.pause()
        assert one.painted == 3


async def test_forget_takes_a_request_back():
    async with Plain().run_test() as pilot:
        one = pilot.app.query_one("#a", Counter)
        live = live_of(one)
        live.request(one)
        live.forget(one)
        assert live.waiting == 0


async def test_an_error_in_a_paint_is_the_app_s_error():
    app = Plain()

    async def broken() -> None:
        async with app.run_test():
            one = app.query_one("#a", Counter)
            one.fails = True
            live_of(one).request(one)
            await until(lambda: not app.is_running, 2)

    with pytest.raises(ValueError, match="no paint"):
        await broken()
