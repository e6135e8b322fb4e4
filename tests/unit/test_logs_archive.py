"""Compressed parts are what gzip makes of the file, replace it in one step, and can be read anywhere."""

from __future__ import annotations

import gzip
import os
import random
import stat
from pathlib import Path

import pytest

from taskmaster_core.logs import archive
from taskmaster_core.logs.archive import MEMBER, compress_part, open_archive
from taskmaster_core.logs.parts import Listing, expire

PART = "x.20261123T013536.000001"


def noise(size: int) -> bytes:
    return random.Random(7).randbytes(size // 2) + b"calm\n" * (size // 10)


@pytest.mark.parametrize("size", [0, 1000, MEMBER, 3 * MEMBER + 17])
def test_gzip_unpacks_what_was_compressed(tmp_path, size):
    data = noise(size)[:size]
    (tmp_path / PART).write_bytes(data)
    target = compress_part(str(tmp_path / PART))
    assert gzip.decompress(Path(target).read_bytes()) == data
    assert os.listdir(tmp_path) == [PART + ".gz"]


def test_mode_and_time_are_kept(tmp_path):
    (tmp_path / PART).write_bytes(b"x")
    os.chmod(tmp_path / PART, 0o604)
    os.utime(tmp_path / PART, (1000.5, 2000.5))
    target = os.stat(compress_part(str(tmp_path / PART)))
    assert (stat.S_IMODE(target.st_mode), target.st_mtime) == (0o604, 2000.5)


@pytest.mark.parametrize("foreign", [False, True])
def test_any_range_can_be_read(tmp_path, foreign):
    data = noise(3 * MEMBER)
    (tmp_path / PART).write_bytes(data)
    path = str(tmp_path / f"{PART}.gz")
    if foreign:
        (tmp_path / f"{PART}.gz").write_bytes(gzip.compress(data))
    else:
        compress_part(str(tmp_path / PART))
    packed = open_archive(path)
    assert packed.size == len(data)
    for start, length in [
        (0, 10),
        (MEMBER - 5, 10),
        (2 * MEMBER, MEMBER),
        (len(data) - 3, 10),
        (5, 2 * MEMBER),
        (0, 1),
    ]:
        assert packed.read(start, length) == data[start : start + length]
    assert packed.read(len(data), 5) == b""
    packed.close()


def test_a_leftover_of_a_core_that_died_is_overwritten(tmp_path):
    (tmp_path / PART).write_bytes(b"whole")
    (tmp_path / f"{PART}.gz.tmp").write_bytes(b"half")
    assert gzip.decompress(Path(compress_part(str(tmp_path / PART))).read_bytes()) == b"whole"


def test_a_failure_leaves_the_part_alone(tmp_path, monkeypatch):
    (tmp_path / PART).write_bytes(b"whole")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_dress_like", full)
    with pytest.raises(OSError, match="No space"):
        compress_part(str(tmp_path / PART))
    assert os.listdir(tmp_path) == [PART]


def test_a_part_dropped_while_it_is_compressed_leaves_no_archive(tmp_path, monkeypatch):
    (tmp_path / PART).write_bytes(b"whole")
    dress = archive._dress_like

    def drop(source, out):
        dress(source, out)
        os.unlink(tmp_path / PART)  # the shim's `keep` does it, and would never look for the archive again

    monkeypatch.setattr(archive, "_dress_like", drop)
    with pytest.raises(FileNotFoundError):
        compress_part(str(tmp_path / PART))
    assert os.listdir(tmp_path) == []


def test_a_link_of_somebody_else_is_not_compressed(tmp_path):
    os.mkdir(tmp_path / "dir.20261123T013536.000001")
    with pytest.raises(OSError, match="regular"):
        compress_part(str(tmp_path / "dir.20261123T013536.000001"))


def test_damage_is_an_error_not_a_crash(tmp_path):
    (tmp_path / PART).write_bytes(noise(2 * MEMBER))
    path = compress_part(str(tmp_path / PART))
    data = bytearray(Path(path).read_bytes())
    data[100:200] = bytes(100)
    Path(path).write_bytes(data)
    packed = open_archive(path)
    with pytest.raises(OSError, match="damaged"):
        packed.read(0, 2 * MEMBER)
    packed.close()


def test_old_parts_expire_with_their_indexes(tmp_path):
    for number, mtime in enumerate([100, 500, 900], 1):
        for name in (f"x.20261123T01353{number}.00000{number}", f"i.20261123T01353{number}.00000{number}"):
            (tmp_path / name).write_bytes(b"x")
            os.utime(tmp_path / name, (mtime, mtime))
    (tmp_path / "x").write_bytes(b"live")
    files = Listing().files(str(tmp_path / "x"), str(tmp_path / "i"))
    assert [os.path.basename(path) for path in expire(files, maxage=450, now=1000)] == [
        "x.20261123T013531.000001", "x.20261123T013532.000002",
    ]  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == ["i.20261123T013533.000003", "x", "x.20261123T013533.000003"]


def test_parts_are_in_the_order_of_their_numbers_whatever_the_clock_said(tmp_path):
    for name in ("x.20261123T020000.000009", "x.20261123T010000.000010", "x.20261123T010000.000011.gz", "x.other", "x"):
        (tmp_path / name).write_bytes(b"")
    files = Listing().files(str(tmp_path / "x"), None)
    assert [file.suffix for file in files] == [
        ".20261123T020000.000009", ".20261123T010000.000010", ".20261123T010000.000011", "",
    ]  # fmt: skip
    assert files[-1].after == ".20261123T010000.000011"
