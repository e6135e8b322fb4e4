"""The frames of the wire between core and shim: a length, then a JSON array of objects.

Decides only where a frame begins and ends and that it is an array of objects; what the objects mean is for the
two ends. The shim imports it by its plain name, the core as `taskmaster_core.shim.frames`.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT = 64 << 20
"""Bytes of JSON in one frame at most; a longer one is a peer that has lost its mind."""

_dump = json.JSONEncoder(separators=(",", ":")).encode


class BadFrame(ValueError):
    """Tell that what came is no frame; the wire cannot be used any more."""


def encode(objects: list[dict[str, Any]]) -> bytes:
    """Return one frame; lone surrogates travel as escapes, so any byte string of the system can be told."""
    body = _dump(objects).encode("ascii")
    if len(body) > LIMIT:
        raise BadFrame(f"a frame of {len(body)} bytes is too long")
    return len(body).to_bytes(4, "big") + body


def _decode(body: bytes) -> list[dict[str, Any]]:
    try:
        objects = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"not JSON: {error}") from None
    if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
        raise BadFrame("not an array of objects")
    return objects


class Decoder:
    """Cut a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[list[dict[str, Any]]]:
        """Return the frames that are complete now; raise BadFrame when the stream cannot be understood."""
        self._buffer += data
        frames = []
        start = 0
        while len(self._buffer) - start >= 4:
            size = int.from_bytes(self._buffer[start : start + 4], "big")
            if size > LIMIT:
                raise BadFrame(f"a frame of {size} bytes is too long")
            if len(self._buffer) - start - 4 < size:
                break
            frames.append(_decode(bytes(self._buffer[start + 4 : start + 4 + size])))
            start += 4 + size
        del self._buffer[:start]
        return frames
