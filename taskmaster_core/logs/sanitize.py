"""The one sanitizer: makes text from jobs, names and configs harmless on a terminal.

Decides which characters may reach a screen: printable ones, newline, tab and, where colours are wanted, SGR.
Does not wrap, colour or cut. Everything that shows foreign text calls `clean`, streams of bytes go through a `Decoder`.
"""

from __future__ import annotations

import codecs
import re

_DIRTY = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_STRING_START = "\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f]"
"""OSC, DCS, SOS, PM and APC, as ESC sequences and as C1 characters."""

_STRING = f"(?:{_STRING_START})[^\x07\x18\x1a\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c|\x18|\x1a)?"
"""Ends at a newline too: a log whose job forgot the terminator must not vanish."""

_CSI = "(?:\x1b\\[|\x9b)[\x20-\x3f]*[\x40-\x7e]?"
_ESCAPE = "\x1b[\x20-\x2f]*[\x30-\x7e]?"
_CONTROL = re.compile(
    f"(?P<string>{_STRING})|(?P<csi>{_CSI})|{_ESCAPE}|(?P<half>[\ud800-\udfff])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
_SGR = re.compile("(?:\x1b\\[|\x9b)([0-9;:]{0,64})m")

_OPEN_CSI = re.compile("(?:\x1b\\[|\x9b)[\x20-\x3f]*")
_OPEN_ESCAPE = re.compile("\x1b[\x20-\x2f]*")
_STRING_ENDS = ("\x07", "\x1b\\", "\x9c", "\x18", "\x1a")
_STRING_END = re.compile("[\x07\x9c\x18\x1a]|(?=[\x1b\n])")
_PENDING_MAX = 4096
_RESET = "\x1b[0m"


def clean(text: str, *, colors: bool = False) -> str:
    """Return the text without anything a terminal would act on; with `colors`, SGR stays and is reset at the end.

    Of a line with carriage returns (a progress bar) the last segment that is not empty is kept.
    """
    if not _DIRTY.search(text):
        return text
    return _closed(_collapse(_strip(text, colors)))


def clean_line(data: bytes, *, colors: bool = False) -> str:
    """Return one whole line of output as harmless text, without its newline."""
    return clean(data.decode("utf-8", "replace").rstrip("\n"), colors=colors)


def _strip(text: str, colors: bool) -> str:
    return _CONTROL.sub(_keep_sgr if colors else _keep_nothing, text)


def _keep_nothing(found: re.Match[str]) -> str:
    return "\ufffd" if found["half"] else ""


def _keep_sgr(found: re.Match[str]) -> str:
    if found["csi"] and (sgr := _SGR.fullmatch(found["csi"])):
        return f"\x1b[{sgr[1]}m"
    return _keep_nothing(found)


def _is_open(found: re.Match[str]) -> bool:
    """Tell whether an escape at the very end of a text could go on in the next one."""
    if found["string"]:
        return not found[0].endswith(_STRING_ENDS)
    return bool((_OPEN_CSI if found["csi"] else _OPEN_ESCAPE).fullmatch(found[0]))


def _collapse(text: str) -> str:
    if "\r" not in text:
        return text
    return "\n".join(_last_segment(line) if "\r" in line else line for line in text.split("\n"))


def _last_segment(line: str) -> str:
    """Return what a progress bar drew last; a segment of nothing but colours drew nothing."""
    return next((segment for segment in reversed(line.split("\r")) if _SGR.sub("", segment)), "")


def _closed(text: str) -> str:
    """End with a reset what has colours, so that they do not run into whatever is printed next."""
    last = text.rfind("\x1b[")
    if last < 0 or text.startswith(("\x1b[0m", "\x1b[m"), last):
        return text
    body = text.rstrip("\n")
    return body + _RESET + text[len(body) :]


class Decoder:
    """Turn chunks of bytes into harmless text; characters and escapes split between chunks are whole.

    What was handed out cannot be taken back: a carriage return after it starts a new line instead.
    """

    def __init__(self, *, colors: bool = False) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._colors = colors
        self._pending = ""
        self._inside_string = False
        self._line_open = False

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Return the text that is certain by now; with `final`, all that is left."""
        text = self._pending + self._utf8.decode(data, final)
        self._pending = ""
        if self._inside_string:
            text = self._skip_string(text)
        if _DIRTY.search(text):
            text = self._tidy(self._strip(text), final)
        if text:
            self._line_open = not text.endswith("\n")
        return text

    def _skip_string(self, text: str) -> str:
        end = _STRING_END.search(text)
        self._inside_string = end is None
        return text[end.end() :] if end else ""

    def _strip(self, text: str) -> str:
        """Drop what is not wanted; an escape cut off at the end is kept for the next chunk."""
        last: re.Match[str] | None = None
        keep = _keep_sgr if self._colors else _keep_nothing

        def replace(found: re.Match[str]) -> str:
            nonlocal last
            last = found
            return keep(found)

        stripped = _CONTROL.sub(replace, text)
        if last is not None and last.end() == len(text) and _is_open(last):
            self._hold(last)
        return stripped

    def _hold(self, found: re.Match[str]) -> None:
        """Remember an open escape, but of a string that grows without end only that we are inside one."""
        if len(found[0]) <= _PENDING_MAX:
            self._pending = found[0]
        else:
            self._inside_string = found["string"] is not None

    def _tidy(self, text: str, final: bool) -> str:
        if text.endswith("\r") and not final:  # it may belong to a CR LF
            text, self._pending = text[:-1], "\r" + self._pending
        first = text.partition("\n")[0].removesuffix("\r")
        rewrites = self._line_open and "\r" in first
        return ("\n" if rewrites else "") + _collapse(text)
