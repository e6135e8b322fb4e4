"""A shorter frame shows the same: checked against a terminal of its own that keeps only characters and styles."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from taskmaster_tui.lean import lean

TOKEN = re.compile(r"\x1b\[([\d;]*)m|(\x1b\[[\d;]*[A-Za-z])|(.|\n)", re.DOTALL)
ENDS = {"22": "12", "23": "3", "24": "4", "25": "56", "27": "7", "28": "8", "29": "9"}


def shown(frame: str) -> list[tuple[str, frozenset[str], str, str]]:
    """Return each character, and each move, with the style it is written in (moves have none)."""
    out, flags, front, back = [], set(), "", ""
    for sgr, move, char in TOKEN.findall(frame):
        if move or char == "\n":
            out.append((move or char, frozenset(), "", ""))
        elif char:
            out.append((char, frozenset(flags), front, back))
        else:
            words = (sgr or "0").split(";")
            while words:
                word = words.pop(0)
                if word == "0":
                    flags, front, back = set(), "", ""
                elif word in ("38", "48"):
                    count = 4 if words[0] == "2" else 2
                    colour, words = ";".join(words[:count]), words[count:]
                    front, back = (colour, back) if word == "38" else (front, colour)
                elif word in ENDS:
                    flags -= set(ENDS[word])
                elif word in ("39", "49"):
                    front, back = ("", back) if word == "39" else (front, "")
                elif 30 <= int(word) <= 37 or 90 <= int(word) <= 97:
                    front = word
                elif 40 <= int(word) <= 47 or 100 <= int(word) <= 107:
                    back = word
                else:
                    flags.add(word)
    return out


colours = st.sampled_from([None, "red", "bright_blue", "color(130)", "rgb(1,2,3)", "rgb(250,2,3)"])
styles = st.builds(
    Style, color=colours, bgcolor=colours, bold=st.booleans(), dim=st.booleans(), italic=st.booleans(),
    underline=st.booleans(), reverse=st.booleans(), strike=st.booleans(), underline2=st.booleans(),
)  # fmt: skip
pieces = st.one_of(
    st.tuples(styles, st.text("abc ü", max_size=4)).map(lambda each: each[0].render(each[1])),
    st.sampled_from(["plain", "\n\x1b[3;1H", "\x1b[12;80H", "\x1b[31mhalf a style"]),
)


@given(st.lists(pieces, max_size=12).map("".join))
def test_every_character_keeps_its_style_and_its_place(frame):
    assert shown(lean(frame)) == shown(frame)


@given(st.lists(pieces, max_size=12).map("".join))
def test_it_ends_in_the_terminal_s_own_style(frame):
    assert shown(lean(frame) + "x")[-1] == ("x", frozenset(), "", "")


@pytest.mark.parametrize(
    ("frame", "short"),
    [
        ("\x1b[31ma\x1b[0m\x1b[31mb\x1b[0m", "\x1b[31mab\x1b[0m"),
        ("\x1b[1;31;40ma\x1b[0m\x1b[1;32;40mb\x1b[0m", "\x1b[1;31;40ma\x1b[32mb\x1b[0m"),
        ("\x1b[1;38;2;9;9;9ma\x1b[0m\x1b[38;2;9;9;9mb\x1b[0m", "\x1b[1;38;2;9;9;9ma\x1b[22mb\x1b[0m"),
        ("\x1b[31ma\x1b[0m\n\x1b[2;1H\x1b[31mb\x1b[0m", "\x1b[31ma\n\x1b[2;1Hb\x1b[0m"),
        ("a\x1b[31m\x1b[0mb", "ab"),
    ],
)
def test_styles_are_sent_when_they_change(frame, short):
    assert lean(frame) == short


@given(st.lists(st.tuples(styles, st.text("abc", min_size=1, max_size=4)).map(lambda e: e[0].render(e[1])), max_size=9))
def test_it_is_never_longer(parts):
    assert len(lean("".join(parts))) <= len("".join(parts))
