"""The fixture that compares pictures: it must be able to fail, and say what to look at."""

from __future__ import annotations

import pytest
from textual.app import App
from textual.widgets import Static

from tests import pictures


@pytest.fixture(autouse=True)
def nobody_updates(monkeypatch):
    monkeypatch.delenv(pictures.UPDATE, raising=False)


async def picture(text: str) -> str:
    class Shows(App[None]):
        def compose(self):
            yield Static(text)

    async with Shows().run_test(size=(20, 3)) as pilot:
        return pilot.app.export_screenshot(title="t")


async def test_a_picture_that_was_written_is_the_same_next_time(tmp_path, monkeypatch):
    kept, seen = tmp_path / "snapshots" / "a.svg", tmp_path / "a.svg"
    monkeypatch.setenv(pictures.UPDATE, "1")
    assert not pictures.difference(await picture("hello"), kept, seen)
    monkeypatch.delenv(pictures.UPDATE)
    assert not pictures.difference(await picture("hello"), kept, seen)


async def test_another_picture_fails_and_names_both_files(tmp_path):
    kept, seen = tmp_path / "kept.svg", tmp_path / "seen.svg"
    kept.write_text(pictures.normal(await picture("hello")))
    said = pictures.difference(await picture("hellO"), kept, seen)
    assert str(kept) in said
    assert str(seen) in said
    assert "hellO" in seen.read_text()


def test_a_picture_that_is_not_kept_yet_fails(tmp_path):
    assert "no picture" in pictures.difference("<svg/>", tmp_path / "a.svg", tmp_path / "b.svg")


def test_ids_do_not_count():
    assert pictures.normal('<g id="terminal-123-r1">') == pictures.normal('<g id="terminal-9-r1">')
