"""Compressed parts: writes them, and reads any range of them without unpacking the rest.

Decides their format: a plain gzip file for every tool, in members of 256 KiB whose header tells how long they are, so
that a reader hops from member to member. The core compresses in a worker thread; streams read.
"""

from __future__ import annotations

import gzip
import os
import stat
import struct
import zlib
from bisect import bisect_right
from collections import OrderedDict
from typing import BinaryIO

from taskmaster_core.logs.files import PlainFile, Readable, open_regular

MEMBER = 256 * 1024
_HEAD = struct.Struct("<4BI2BH2sHII")  # RFC 1952 with one extra field "TM": bytes of the member, bytes in it
_TAIL = struct.Struct("<II")
_FEXTRA = 4
_LEVEL = 6
_UNKNOWN_OS = 255


def compress_part(path: str) -> str:
    """Replace a rotated part by its gzip file and return that file's path; raise OSError.

    The file appears whole or not at all, with the part's mode, owner and time; only then is the part removed.
    """
    source = open_regular(path)
    target, unfinished = f"{path}.gz", f"{path}.gz.tmp"
    try:
        _remove(unfinished)  # left by a core that died here; O_EXCL below refuses what others may plant
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            _write_members(source, out)
            _dress_like(source, out)
        os.rename(unfinished, target)
    except BaseException:
        _remove(unfinished)
        raise
    finally:
        os.close(source)
    _sync_directory(os.path.dirname(path) or ".")
    try:
        os.unlink(path)
    except FileNotFoundError:  # `keep` dropped the part, and would never look for its archive again
        _remove(target)
        raise
    return target


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _write_members(source: int, out: BinaryIO) -> None:
    offset = 0
    while True:
        data = os.pread(source, MEMBER, offset)
        if not data and offset:
            return
        out.write(_member(data))
        offset += len(data)
        if not data:  # an empty part is one empty member: no bytes at all are no gzip file
            return


def _member(data: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(data) + packer.flush()
    length = _HEAD.size + len(body) + _TAIL.size
    head = _HEAD.pack(0x1F, 0x8B, 8, _FEXTRA, 0, 0, _UNKNOWN_OS, 12, b"TM", 8, length, len(data))
    return head + body + _TAIL.pack(zlib.crc32(data), len(data))


def _dress_like(source: int, out: BinaryIO) -> None:
    """Give the new file mode, owner and times of the old one, and put it on disk."""
    was = os.fstat(source)
    out.flush()
    if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()) and os.geteuid() == 0:
        os.fchown(out.fileno(), was.st_uid, was.st_gid)
    os.fchmod(out.fileno(), stat.S_IMODE(was.st_mode))
    os.utime(out.fileno(), ns=(was.st_atime_ns, was.st_mtime_ns))
    os.fsync(out.fileno())


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_archive(path: str) -> Readable:
    """Open a compressed part; one that another program packed is read from its start each time it must go back."""
    file = PlainFile.open(path)
    members = _hop(file)
    if members is None:
        file.close()
        return _Foreign(path)
    return _Archive(file, members)


def _hop(file: PlainFile) -> list[tuple[int, int, int]] | None:
    """Return (offset in the output, offset in the file, length in the file) of each member, None if not ours."""
    members: list[tuple[int, int, int]] = []
    at = unpacked = 0
    while at < file.size:
        head = file.read(at, _HEAD.size)
        if len(head) < _HEAD.size:
            return None
        fields = _HEAD.unpack(head)
        length, inside = fields[-2:]
        if fields[:4] != (0x1F, 0x8B, 8, _FEXTRA) or fields[8] != b"TM" or not _plausible(length, inside):
            return None
        members.append((unpacked, at, length))
        at += length
        unpacked += inside
    members.append((unpacked, at, 0))
    return members


def _plausible(length: int, inside: int) -> bool:
    """Tell whether we could have written such a member; the file may be a job's, and a bomb."""
    return _HEAD.size < length <= 2 * MEMBER and inside <= MEMBER


_sizes: OrderedDict[tuple[str, int], int] = OrderedDict()
"""Bytes of output in each part that was asked about; a part never changes."""

_REMEMBERED = 65_536


def part_size(path: str, ino: int) -> int:
    """Return the bytes of output in a rotated part, 0 if it cannot be read. Cheap: it is looked at once."""
    size = _sizes.get((path, ino))
    if size is None:
        try:
            size = _unpacked_size(path) if path.endswith(".gz") else os.stat(path).st_size
        except OSError:
            return 0
        _sizes[path, ino] = size
        if len(_sizes) > _REMEMBERED:
            _sizes.popitem(last=False)
    return size


def _unpacked_size(path: str) -> int:
    with PlainFile.open(path) as file:
        members = _hop(file)
        if members is not None:
            return members[-1][0]
        tail = file.read(max(0, file.size - 4), 4)  # of another program: what its last member says is near enough
        return int.from_bytes(tail, "little")


class _Archive:
    """Read ranges of a file that `compress_part` wrote, holding one unpacked member."""

    def __init__(self, file: PlainFile, members: list[tuple[int, int, int]]) -> None:
        self._file = file
        self._members = members
        self._starts = [member[0] for member in members]
        self._held: tuple[int, bytes] = (-1, b"")

    @property
    def size(self) -> int:
        return self._starts[-1]

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        pieces: list[bytes] = []
        while offset < end:
            number = bisect_right(self._starts, offset) - 1
            data = self._unpack(number)[offset - self._starts[number] :][: end - offset]
            pieces.append(data)
            offset += len(data)
        return b"".join(pieces)

    def _unpack(self, number: int) -> bytes:
        if self._held[0] != number:
            _, at, length = self._members[number]
            raw = self._file.read(at, length)
            crc, inside = _TAIL.unpack(raw[-_TAIL.size :])
            try:
                packer = zlib.decompressobj(-zlib.MAX_WBITS)
                data = packer.decompress(raw[_HEAD.size : -_TAIL.size], MEMBER)
            except zlib.error as error:
                raise OSError(f"damaged archive: {error}") from error
            if (zlib.crc32(data), len(data)) != (crc, inside):
                raise OSError("damaged archive: the checksum is wrong")
            self._held = (number, data)
        return self._held[1]

    def close(self) -> None:
        self._file.close()


class _Foreign:
    """Read ranges of a gzip file of unknown make: forward is cheap, back means from the start."""

    def __init__(self, path: str) -> None:
        self._raw = open(open_regular(path), "rb")  # noqa: SIM115  (closed by close)
        self._file = gzip.GzipFile(fileobj=self._raw)
        self._size: int | None = None

    @property
    def size(self) -> int:
        if self._size is None:
            try:
                self._size = self._file.seek(0, os.SEEK_END)
            except (EOFError, zlib.error) as error:
                raise OSError(f"damaged archive: {error}") from error
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(length)
        except (EOFError, zlib.error) as error:
            raise OSError(f"damaged archive: {error}") from error

    def close(self) -> None:
        self._file.close()
        self._raw.close()
