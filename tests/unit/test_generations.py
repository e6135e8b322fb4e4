"""Applied configs are kept whole, in order, and readable by nobody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_core.generations import KEPT, Generations
from taskmaster_core.spec import Config, JobSpec, Rlimit, StopStep

FULL = Config(
    jobs=(JobSpec("web", ("a", "b"), env={"K": "v"}, limits=(Rlimit("nofile", 1, None),), stop=(StopStep(2, 1.0),)),),
    files=("/x.toml",),
)
TEXTS = {"/x.toml": b"\xff any bytes"}


@pytest.fixture
def kept(tmp_path: Path) -> Generations:
    return Generations(str(tmp_path / "generations"))


def test_what_was_saved_is_loaded_whole(kept: Generations) -> None:
    kept.save(3, FULL, TEXTS, "start")
    found = kept.load(3)
    assert found is not None
    assert (found.number, found.config, found.texts, found.cause) == (3, FULL, TEXTS, "start")


def test_nothing_was_applied_before_the_first(kept: Generations) -> None:
    assert (kept.latest(), kept.numbers(), kept.load(1)) == (None, [], None)


def test_S04_nobody_else_can_read_a_generation(kept: Generations, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        kept.save(1, FULL, TEXTS, "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "generations" / "000001.json").stat().st_mode) == 0o600


@settings(max_examples=25)  # each one syncs to disk
@given(st.integers(0, 400))
def test_R07_a_torn_newest_generation_leaves_the_one_before_in_force(cut: int) -> None:
    with TemporaryDirectory() as directory:
        kept = Generations(directory)
        kept.save(1, FULL, TEXTS, "")
        kept.save(2, FULL, TEXTS, "")
        newest = Path(directory, "000002.json")
        newest.write_bytes(newest.read_bytes()[:cut])
        found = kept.latest()
        assert found is not None
        assert found.number == 1
        assert "generation 2" in kept.trouble


def test_fields_of_a_newer_version_do_not_matter(kept: Generations, tmp_path: Path) -> None:
    kept.save(1, FULL, TEXTS, "")
    path = tmp_path / "generations" / "000001.json"
    plain = msgspec.json.decode(path.read_bytes())
    plain["novel"] = plain["config"]["novel"] = plain["config"]["jobs"][0]["novel"] = [1]
    path.write_bytes(msgspec.json.encode(plain))
    found = kept.load(1)
    assert found is not None
    assert found.config == FULL


def test_the_oldest_go_when_there_are_too_many(kept: Generations) -> None:
    for number in range(1, KEPT + 4):
        kept.save(number, Config(), {}, "")
    assert kept.numbers() == list(range(4, KEPT + 4))


def test_an_unfinished_file_is_no_generation(kept: Generations, tmp_path: Path) -> None:
    kept.save(1, FULL, TEXTS, "")
    (tmp_path / "generations" / "000002.json.tmp").write_bytes(b"{")
    assert kept.numbers() == [1]


def test_summaries_tell_when_and_why(kept: Generations) -> None:
    kept.save(1, FULL, TEXTS, "start")
    (told,) = kept.summaries()
    assert (told["number"], told["cause"], told["jobs"]) == (1, "start", 1)
