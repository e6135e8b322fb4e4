"""Writes output the way the shim does (docs/shim-protocol.md, Files), for the tests of those who read it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from taskmaster_core.logs.archive import compress_part
from taskmaster_core.logs.query import Source

RECORD = struct.Struct("<QdII")


class FakeShim:
    """Append chunks with their records to one file, and rotate it."""

    def __init__(self, directory: Path, name: str = "0.out") -> None:
        self.path = str(directory / name)
        self.index = str(directory / f"{name}.idx")
        self.written = bytearray()
        self.parts: list[str] = []
        self._tags: list[str] = []
        self._open()

    def _open(self) -> None:
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def close(self) -> None:
        os.close(self.fd)

    def append(self, data: bytes, at: float, tag: str = "web:0", *, record: bool = True) -> None:
        offset = os.fstat(self.fd).st_size
        os.write(self.fd, data)
        self.written += data
        os.utime(self.path, (at, at))
        if record:
            self.record(offset, at, tag, len(data))

    def record(self, offset: int, at: float, tag: str, length: int) -> None:
        if tag not in self._tags:
            self._tags.append(tag)
            with open(f"{self.index}.tags", "a") as tags:
                tags.write(f"{tag}\n")
        with open(self.index, "ab") as index:
            index.write(RECORD.pack(offset, at, self._tags.index(tag), length))

    def rotate(self, *, compress: bool = False) -> str:
        suffix = f".20261123T0135{len(self.parts) % 60:02d}.{len(self.parts) + 1:06d}"
        part = self.path + suffix
        os.rename(self.path, part)
        if os.path.exists(self.index):
            os.rename(self.index, self.index + suffix)
        os.close(self.fd)
        self._open()
        self.parts.append(part)
        if compress:
            compress_part(part)
        return part

    def recreate(self) -> None:
        os.close(self.fd)
        os.unlink(self.path)
        self._open()

    def truncate(self) -> None:
        os.truncate(self.path, 0)

    def source(self, tag: str | None = None, key: str = "web:0", stream: str = "out") -> Source:
        return Source(self.path, self.index, tag, key, stream)
