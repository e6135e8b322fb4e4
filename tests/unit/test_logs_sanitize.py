"""The sanitizer lets nothing through that a terminal acts on."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.logs.sanitize import Decoder, clean, clean_line

SGR = re.compile(r"\x1b\[[0-9;:]*m")
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

dirty = st.text(
    alphabet=st.sampled_from("ab1;:?0[]()P^_X\\mHJ \n\t\r\x00\x07\x08\x18\x1b\x1b\x9b\x9c\x9d\x90\x7f\x85é漢\ud800")
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain ünïcode 漢\t\n", "plain ünïcode 漢\t\n"),
        ("a\x1b]52;c;c2VjcmV0\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ('a\x1bP$q"p\x1b\\b', "ab"),
        ("a\x1b[?1049hb\x1b[2J\x1b[Hc", "abc"),
        ("a\x9b31mb\x9d0;x\x9cc", "abc"),
        ("a\x1b_apc\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d", "abcd"),
        ("a\x1b(0b\x1bcd\x1b=e", "abde"),
        ("a\x00b\x7fc\x08d", "abcd"),
        ("\x1b]0;never ended\nnext line", "\nnext line"),
        ("\x1b\x1b[31m[31mx", "[31mx"),
        ("x\x1b", "x"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("dos\r\nline\r\n", "dos\nline\n"),
        ("done\r", "done"),
        ("\ud800", "\ufffd"),
        ("[@click=app.quit]x[/]", "[@click=app.quit]x[/]"),
    ],
)
def test_G11_nothing_but_text_is_left(text, wanted):
    assert clean(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[38:2::1:2:3mred", "\x1b[38:2::1:2:3mred\x1b[0m"),
        ("\x9b1mbold\n", "\x1b[1mbold\x1b[0m\n"),
        ("\x1b[2J\x1b[1;31mx\x1b[m", "\x1b[1;31mx\x1b[m"),
        ("\x1b[>4;1mx\x1b[?25l", "x"),
        ("old\r\x1b[0m", "old"),
    ],
)
def test_G11_colors_stay_only_when_wanted(text, wanted):
    assert clean(text, colors=True) == wanted
    assert "\x1b" not in clean(text)


@given(dirty)
def test_S13_no_control_character_survives(text):
    assert not FORBIDDEN.search(clean(text))
    assert not FORBIDDEN.search(SGR.sub("", clean(text, colors=True)))


@given(dirty)
def test_S13_clean_text_is_left_alone(text):
    assert clean(clean(text)) == clean(text)


@given(st.binary(max_size=200))
def test_S13_bytes_of_any_kind_come_out_harmless(data):
    assert not FORBIDDEN.search(clean_line(data))


@given(dirty.filter(lambda text: "\r" not in text), st.integers(1, 5))
def test_G11_chunks_change_nothing(text, size):
    data = text.encode("utf-8", "replace")
    decoder = Decoder()
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert "".join([*map(decoder.feed, chunks), decoder.feed(b"", final=True)]) == clean(data.decode())


@given(dirty, st.integers(1, 5))
def test_S13_chunks_of_anything_come_out_harmless(text, size):
    data = text.encode("utf-8", "surrogatepass")
    decoder = Decoder()
    out = "".join(decoder.feed(data[at : at + size]) for at in range(0, len(data), size)) + decoder.feed(
        b"", final=True
    )
    assert not FORBIDDEN.search(out)


@pytest.mark.parametrize("split", range(1, 8))
def test_G10_a_character_split_over_chunks_is_whole(split):
    data = "aé漢🙂".encode()
    decoder = Decoder()
    assert decoder.feed(data[:split]) + decoder.feed(data[split:]) == "aé漢🙂"


def test_G10_invalid_bytes_become_replacement_characters():
    assert Decoder().feed(b"a\xff\xfeb\xc3(", final=True) == "a\ufffd\ufffdb\ufffd("


def test_G10_a_progress_bar_over_chunks_starts_a_new_line():
    decoder = Decoder()
    assert [decoder.feed(b"10%"), decoder.feed(b"\r20%\r30%"), decoder.feed(b"\r\n"), decoder.feed(b"x")] == [
        "10%", "\n30%", "\n", "x",
    ]  # fmt: skip


def test_G11_an_endless_escape_takes_no_memory_and_ends_at_its_end():
    decoder = Decoder()
    for _ in range(100):
        assert decoder.feed(b"\x1b]0;" + b"x" * 1000) == ""
    assert len(decoder._pending) <= 4096
    assert decoder.feed(b"\x07after") == "after"


@pytest.mark.parametrize("piece", ["\x90", "\x1b]", "\x1b[1;", "\r", "a\r", "\x1b[31m", "\x1b "])
def test_G11_hostile_text_takes_linear_time(piece):
    text = piece * (200_000 // len(piece))
    start = time.process_time()
    clean(text, colors=True)
    Decoder().feed(text.encode())
    assert time.process_time() - start < 2
