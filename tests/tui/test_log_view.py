from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from textual.geometry import Region
from textual.widgets import Input

from taskmaster_core.errors import UsageError
from taskmaster_tui.line_source import Row
from taskmaster_tui.log_search import asked, ignores_case, marker, without
from taskmaster_tui.widgets.log_view import LogView
from tests.tui.fake_logs import START, FakeLogs, line
from tests.tui.log_app import One, shown, until


def needles(count: int, every: int = 100) -> FakeLogs:
    return FakeLogs([line(i, b"needle %d" % i if i % every == 0 else b"hay %d" % i) for i in range(count)])


async def opened(view: LogView) -> None:
    view.show(["web"])
    await until(lambda: view.buffer.loaded and shown(view.pager))


def seen(view: LogView) -> list[str]:
    return [text.split(" 1 ", 1)[-1].split(" 2 ", 1)[-1] for text in shown(view.pager)]


def here(view: LogView) -> str:
    row = view.row_here()
    return row.data.decode().strip() if row else ""


@pytest.fixture
def logs() -> FakeLogs:
    return needles(1_000)


@pytest.fixture
def view(logs: FakeLogs) -> LogView:
    return LogView(lambda: logs, now=lambda: START + 100)


async def test_rows_of_a_size_that_is_over_can_still_be_asked_for(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        rows = view.pager.size.height + 3
        assert len(view.pager.render_lines(Region(0, 0, view.pager.size.width, rows))) == rows


# Follow


async def test_it_follows_and_says_what_it_shows(view: LogView, logs: FakeLogs):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        assert view.status().startswith("follow ▼ · out+err · wrap off · time clock · 20.0 kB · 100 %")
        logs.add(line(1_000, b"new"))
        view.grew({"web:0"})
        await until(lambda: seen(view)[-1] == "new")


async def test_output_of_others_is_no_reason_to_fetch(view: LogView, logs: FakeLogs):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        asked = len(logs.asked)
        assert not view.grew({"other:0"})
        await asyncio.sleep(0.1)
        assert len(logs.asked) == asked


async def test_paused_it_counts_what_comes_and_G_follows_again(view: LogView, logs: FakeLogs):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.move(-3)
        stood = seen(view)
        logs.add(*(line(1_000 + i, b"new") for i in range(1_482)))
        view.grew({"web:0"})
        await until(lambda: shown(view.pager)[-1].strip() == "║ paused here · 1,482 new lines below · G or f to follow"
                    or (view.grew({"web:0"}) and False))  # fmt: skip
        assert seen(view)[:9] == stood[:9]
        view.goto_end()
        await until(lambda: seen(view)[-1] == "new" and view.following)


async def test_a_pane_nobody_sees_fetches_nothing(view: LogView, logs: FakeLogs):
    async with One(view).run_test(size=(80, 12)) as pilot:
        await opened(view)
        view.display = False
        await pilot.pause()
        await pilot.pause()
        asked = len(logs.asked)
        logs.add(line(1_000, b"new"))
        view.grew({"web:0"})
        await asyncio.sleep(0.1)
        assert len(logs.asked) == asked
        view.display = True
        await until(lambda: seen(view)[-1:] == ["new"])


# Search


async def test_a_search_from_the_end_goes_to_the_last_hit_and_counts_all(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("needle")
        await until(lambda: here(view) == "needle 900")
        await until(lambda: "match 10 of 10" in view.found_words() and "+" not in view.found_words())
        view.previous_hit()
        await until(lambda: here(view) == "needle 800")
        assert "match 9 of 10" in view.found_words()


async def test_a_search_from_the_middle_finds_the_next_below_first(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.jump_to(START + 45)
        await until(lambda: seen(view) and seen(view)[0] == "hay 450")
        view.search("needle")
        await until(lambda: here(view) == "needle 500")
        view.previous_hit()
        await until(lambda: here(view) == "needle 400")
        view.next_hit()
        view.next_hit()
        await until(lambda: here(view) == "needle 600")


async def test_the_count_grows_while_it_is_searching(view: LogView, logs: FakeLogs):
    logs.slice = 50
    logs.delay = 0.02
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("needle")
        await until(lambda: "of 1+" in view.found_words() or "of 2+" in view.found_words())
        await until(lambda: "of 10 " in view.found_words())


async def test_a_search_far_back_shows_the_hit_with_what_is_around_it():
    logs = needles(20_000, every=15_000)
    view = LogView(lambda: logs)
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("needle")
        await until(lambda: here(view) == "needle 15000")
        await until(lambda: {"hay 14999", "hay 15001"} <= set(seen(view)))


async def test_new_hits_are_counted_too(view: LogView, logs: FakeLogs):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("needle")
        await until(lambda: "of 10 " in view.found_words() and not view.search_state.running)
        logs.add(line(1_000, b"needle new"))
        view.grew({"web:0"})
        await until(lambda: "of 11 " in view.found_words())


async def test_nothing_found_is_said(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("unicorn")
        await until(lambda: "no match" in view.found_words())


async def test_a_bad_expression_is_said_and_harms_nothing(view: LogView, logs: FakeLogs):
    async def refuse(*args, **options):
        raise UsageError("not a regular expression: missing )", "")

    logs.find = refuse  # type: ignore[method-assign]
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("(")
        await until(lambda: "not a regular expression" in view.found_words())


async def test_keys_are_heard_while_a_search_runs(view: LogView, logs: FakeLogs):
    logs.slice = 1
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("needle 0")
        began = time.monotonic()
        view.move(-5)
        view.search("")
        assert time.monotonic() - began < 0.1
        assert not view.search_state.running


async def test_typing_a_search_and_escape(view: LogView):
    app = One(view)
    async with app.run_test(size=(80, 12)) as pilot:
        await opened(view)
        view.open_search()
        await pilot.press(*"needle", "enter")
        await until(lambda: here(view) == "needle 900")
        assert app.focused is view.pager
        view.open_search()
        await pilot.press("x", "escape")
        assert app.focused is view.pager
        assert view.search_state.text == "needle"
        assert view.escape()
        assert view.search_state.text == ""
        assert not view.escape()


def test_small_letters_find_capitals_but_not_the_other_way():
    assert ignores_case("error")
    assert not ignores_case("Error")
    assert ignores_case(r"\Serror")


def test_expressions_that_could_take_for_ever_are_not_run_on_the_screen():
    assert marker("(a+)+$") is None
    assert marker(".*.*.*=") is None
    assert marker("(") is None
    assert marker("status=5\\d\\d") is not None
    assert marker("a.b+") is not None


async def test_what_is_seen_is_found_though_colours_change_within(view: LogView, logs: FakeLogs):
    logs.lines[300] = line(300, b"\x1b[1mrequest\x1b[0m \x1b[33m4711\x1b[0m[\x1b[32mok\x1b[0m]")
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("request 4711")
        await until(lambda: "match 1 of 1 " in view.found_words())
        view.keep_only("4711[ok")
        view.keep_only("request 4711")
        await until(lambda: seen(view)[0] == "request 4711[ok]")


def test_a_single_word_is_searched_as_it_is():
    assert asked("refused") == "refused"
    assert asked("status=5\\d\\d") == "status=5\\d\\d"


def test_lines_without_a_match_are_an_expression_too():
    assert without("a+") == "^(?!.*(?:a+))"
    assert without("ab") == "^(?!.*(?:ab))"


# Keep only


async def test_only_matches_are_kept_and_enter_goes_back_with_context(view: LogView):
    async with One(view).run_test(size=(80, 14)):
        await opened(view)
        view.search("needle")
        await until(lambda: here(view) == "needle 900")
        view.open_keep()
        await until(lambda: "needle 300" in seen(view) and here(view) == "needle 900")
        assert view.pager.cursor is not None
        assert not any("hay" in text for text in seen(view))
        view.pager.cursor = next(number for number in range(view.buffer.first, view.buffer.end)
                                 if b"needle 300" in view.buffer.line(number).data)  # fmt: skip
        view.choose()
        await until(lambda: "hay 299" in seen(view) and here(view) == "needle 300")
        assert view.filter is None


async def test_a_filter_that_matches_nothing_says_so(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.keep_only("unicorn")
        await until(lambda: 'nothing matches "unicorn"' in shown(view.pager)[0])
        view.escape()
        await until(lambda: seen(view)[-1] == "hay 999")


async def test_an_exclamation_mark_keeps_what_does_not_match(view: LogView):
    async with One(view).run_test(size=(80, 12)) as pilot:
        await opened(view)
        view.open_keep()
        await pilot.press("exclamation_mark", *"hay", "enter")
        await until(lambda: "needle 900" in seen(view) and not any("hay" in text for text in seen(view)))


# Jumps and remarks


async def test_the_oldest_line_and_five_minutes_ago(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.goto_start()
        await until(lambda: seen(view)[0] == "needle 0")
        view._now = lambda: START + 350
        view.last_minutes(5)
        await until(lambda: seen(view)[0] == "needle 500")


async def test_the_scroll_bar_is_pulled_to_a_share_of_all_output():
    logs = needles(20_000)
    view = LogView(lambda: logs)
    async with One(view).run_test(size=(80, 12)) as pilot:
        await opened(view)
        await pilot.mouse_down(view.pager, offset=(79, 5))
        await until(lambda: seen(view) and 9_000 < int(seen(view)[0].split()[-1]) < 11_000)
        await pilot.hover(view.pager, offset=(79, 0))
        await until(lambda: seen(view) and int(seen(view)[0].split()[-1]) < 300)
        await pilot.mouse_up(view.pager, offset=(79, 0))
        view.goto_end()
        await until(lambda: seen(view)[-1] == "hay 19999")


async def test_streams_go_round_and_the_place_is_kept(logs: FakeLogs, view: LogView):
    logs.lines[400:410] = [line(i, b"err %d" % i, stream="err") for i in range(400, 410)]
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.jump_to(START + 40)
        await until(lambda: seen(view)[0] == "err 400")
        view.cycle_streams()
        await until(lambda: seen(view)[0] == "hay 410")
        assert "out only" in view.status()
        view.cycle_streams()
        await until(lambda: "err 405" in seen(view))
        view.cycle_streams()
        assert "out+err" in view.status()


async def test_what_happened_to_a_process_stands_between_its_lines(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        view.show(["web"], marks=[Row(b"exited 78", START + 99.85, "web:0", kind="mark", role="failed")])
        await until(lambda: any("── exited 78 ──" in text for text in shown(view.pager)))
        view.add_marks([Row(b"started", START + 99.95, "web:0", kind="mark")])
        await until(lambda: "── started ──" in shown(view.pager)[-1])


async def test_marks_are_put_and_found_again(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.jump_to(START + 20)
        await until(lambda: seen(view)[0] == "needle 200")
        view.mark()
        view.goto_end()
        await until(lambda: seen(view)[-1] == "hay 999")
        view.jump_mark()
        await until(lambda: any("mark 1" in text for text in shown(view.pager)))


async def test_braces_go_on_beyond_what_is_in_memory():
    logs = needles(20_000)
    logs.lines[3_000] = line(3_000, b"Traceback (most recent call last):")
    view = LogView(lambda: logs)
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.next_trouble(-1)
        await until(lambda: here(view).startswith("Traceback"))


# Words and files


async def test_an_empty_log_says_why(view: LogView, logs: FakeLogs):
    logs.lines = []
    async with One(view).run_test(size=(80, 12)):
        view.show(["web"], empty="no output yet (running 3 s)")
        await until(lambda: shown(view.pager)[0].strip() == "no output yet (running 3 s)")
        view.set_empty("output goes to /tmp/foo.out")
        await until(lambda: shown(view.pager)[0].strip() == "output goes to /tmp/foo.out")


async def test_shown_lines_are_saved_without_colours(view: LogView, logs: FakeLogs, tmp_path: Path):
    logs.lines[-1] = line(999, b"\x1b[31mred\x1b[0m \x1b]52;c;x\x07end")
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        count = view.save_shown(str(tmp_path / "log"))
        text = (tmp_path / "log").read_text()
        assert text.endswith("red end\n")
        assert len(text.splitlines()) == count


async def test_the_place_for_a_pager_is_the_line_somebody_is_at(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        assert view.place() == ("web:0", "out", 999 * 20)
        assert view.copy() == "hay 999"


async def test_G11_words_of_the_core_reach_the_status_line_without_escapes(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.buffer.problems = ["/tmp/\x1b]52;c;x\x07evil\x9b2J: no such file"]
        view.title_words = "\x1b]0;t\x07all"
        assert "evil" in view.status()
        assert view.status().isprintable()


async def test_the_oldest_line_says_that_it_is(view: LogView):
    async with One(view).run_test(size=(120, 12)):
        await opened(view)
        view.goto_start()
        await until(lambda: "the oldest line, " in view.status())


async def test_the_input_does_not_run_markup(view: LogView):
    async with One(view).run_test(size=(80, 12)):
        await opened(view)
        view.search("[@click=app.quit]x[/]")
        await until(lambda: view.search_state.text)
        view._paint()
        assert "[@click=app.quit]x[/]" in str(view.query_one("#log-found").render())
        assert not view.query(Input).first().value


# Cost


async def test_ten_thousand_coloured_lines_a_second_leave_keys_quick():
    logs = FakeLogs(count=0)
    view = LogView(lambda: logs)
    text = b"\x1b[32m2026-11-23\x1b[0m \x1b[1;34mINFO\x1b[0m request \x1b[33m%d\x1b[0m " + b"x" * 80
    async with One(view).run_test(size=(120, 36)):
        await opened_empty(view)
        cpu, began, number, late = time.process_time(), time.monotonic(), 0, []
        while (now := time.monotonic()) - began < 2:
            due = int((now - began) * 10_000)
            logs.lines += [line(i, text % i) for i in range(number, due)]
            number = due
            view.grew({"web:0"})
            before = time.monotonic()
            view.pager.sideways(0)
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - before - 0.01)
        share = (time.process_time() - cpu) / (time.monotonic() - began)
        late.sort()
        assert share < 0.9, share
        assert late[len(late) * 95 // 100] < 0.25, late[-5:]
        await until(lambda: view.buffer.line(view.buffer.end - 1).offset == (number - 1) * 20)


async def opened_empty(view: LogView) -> None:
    view.show(["web"])
    await until(lambda: view.buffer.loaded)
