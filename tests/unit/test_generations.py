from __future__ import annotations

import os
import random
from pathlib import Path

import msgspec
import pytest

from taskmaster_core import generations as module
from taskmaster_core.generations import Generations
from taskmaster_core.spec import Backoff, Config, JobSpec, LogSpec, Restart, Rlimit, Settings, StopStep

RICH = Config(
    jobs=(
        JobSpec("web", ("sleep", "1"), tags=("a", "b"), exitcodes=(0, "SIGTERM"), retry=None, stop=(StopStep(2, 1.5),)),
        JobSpec("write bar", ("/bin/sh", "-c", "x"), cmd="x", shell="/bin/sh", umask=0o777, uid="bob", gid=0),
        JobSpec("c", ("x",), cleanenv=("PATH",), env={"A": "ä"}, backoff=Backoff(max=9), log=LogSpec(direct=True)),
        JobSpec("d", ("x",), cmd=("x",), restart=Restart.NEVER, limits=(Rlimit("nofile", 5, None),), exitwith=True),
    ),
    settings=Settings(autoreload="ask", include=("conf.d/*.toml",), shutdown=3.0),
    files=("/etc/tm.toml",),
)  # fmt: skip
TEXTS = {"/etc/tm.toml": b"\xff\x00not utf-8", "/etc/conf.d/a.toml": b"[[task]]\n"}


@pytest.fixture
def kept(tmp_path: Path) -> Generations:
    return Generations(str(tmp_path / "generations"))


def test_a_generation_comes_back_as_it_was_saved(kept: Generations) -> None:
    kept.save(3, RICH, TEXTS, "reload")
    found = kept.load(3)
    assert found is not None
    assert (found.config, found.texts, found.cause, found.number) == (RICH, TEXTS, "reload", 3)
    assert kept.trouble == ""


def test_before_the_first_there_is_none(kept: Generations) -> None:
    assert (kept.latest(), kept.load(1), kept.numbers(), kept.summaries()) == (None, None, [], [])
    assert kept.trouble == ""


def test_the_latest_is_the_greatest_number(kept: Generations) -> None:
    for number in (9, 10, 2):
        kept.save(number, Config(), {}, str(number))
    latest = kept.latest()
    assert latest is not None
    assert (latest.number, kept.numbers()) == (10, [2, 9, 10])


def test_only_the_last_ones_are_kept(kept: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.KEPT == 50
    monkeypatch.setattr(module, "KEPT", 3)
    for number in range(1, 7):
        kept.save(number, Config(), {}, "x")
    assert kept.numbers() == [4, 5, 6]


def test_text_that_is_not_utf_8_is_an_error_of_saving(kept: Generations) -> None:
    with pytest.raises(OSError, match="UTF-8"):
        kept.save(1, Config(files=("/\udcff",)), {}, "x")


def test_summaries_tell_what_there_is(kept: Generations) -> None:
    kept.save(1, RICH, TEXTS, "start")
    kept.save(2, Config(), {}, "rollback")
    assert [(each.number, each.cause, each.jobs) for each in kept.summaries()] == [(1, "start", 4), (2, "rollback", 0)]
    assert kept.summaries()[0].at > 1e9


def test_S04_only_the_owner_may_read_it(kept: Generations, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        kept.save(1, RICH, TEXTS, "start")
    finally:
        os.umask(old)
    directory = tmp_path / "generations"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "1.json").stat().st_mode & 0o777 == 0o600


def test_R07_a_torn_newest_file_gives_the_one_before_and_says_so(kept: Generations, tmp_path: Path) -> None:
    kept.save(1, RICH, TEXTS, "start")
    kept.save(2, RICH, TEXTS, "reload")
    newest = tmp_path / "generations" / "2.json"
    whole = newest.read_bytes()
    dice = random.Random(3)
    for _ in range(200):
        newest.write_bytes(whole[: dice.randrange(len(whole))])
        latest = kept.latest()
        assert latest is not None
        assert latest.number == 1
        assert "generation 2" in kept.trouble
    newest.write_bytes(whole)
    kept.latest()
    assert kept.trouble == ""


def test_R07_garbage_in_the_newest_file_gives_the_one_before(kept: Generations, tmp_path: Path) -> None:
    kept.save(1, RICH, TEXTS, "start")
    kept.save(2, RICH, TEXTS, "reload")
    for garbage in (b"\xff" * 100, b"[" * 100_000, b"null", b'{"number":"x"}', b'{"number":2,"texts":{"a":"?"}}'):
        (tmp_path / "generations" / "2.json").write_bytes(garbage)
        latest = kept.latest()
        assert latest is not None
        assert latest.number == 1


def test_fields_of_a_newer_version_do_not_matter(kept: Generations, tmp_path: Path) -> None:
    kept.save(1, RICH, TEXTS, "start")
    path = tmp_path / "generations" / "1.json"
    document = msgspec.json.decode(path.read_bytes())
    document["hue"] = 1
    document["config"]["mood"] = []
    document["config"]["settings"]["tone"] = {}
    document["config"]["jobs"][0]["charm"] = None
    path.write_bytes(msgspec.json.encode(document))
    found = kept.load(1)
    assert found is not None
    assert found.config == RICH


def test_fields_that_an_older_version_did_not_write_have_their_defaults(kept: Generations, tmp_path: Path) -> None:
    (tmp_path / "generations").mkdir()
    (tmp_path / "generations" / "1.json").write_bytes(
        b'{"number":1,"at":1.0,"cause":"","config":{"jobs":[{"name":"a","argv":["x"]}]}}'
    )
    found = kept.load(1)
    assert found is not None
    assert found.config == Config(jobs=(JobSpec("a", ("x",)),))


def test_files_of_others_in_the_directory_are_left_alone(kept: Generations, tmp_path: Path) -> None:
    kept.save(1, RICH, TEXTS, "start")
    (tmp_path / "generations" / "notes.json").write_text("")
    (tmp_path / "generations" / "²  .json").write_text("")
    assert kept.numbers() == [1]


def test_R05_a_save_that_fails_raises_and_leaves_the_old_ones(
    kept: Generations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.save(1, RICH, TEXTS, "start")
    kept.save(2, RICH, TEXTS, "one")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", lambda path, document: os.write(os.open("/dev/full", os.O_WRONLY), document))
        with pytest.raises(OSError, match="No space"):
            kept.save(2, Config(), {}, "two")
    found = kept.load(2)
    assert found is not None
    assert found.cause == "one"
    assert sorted(os.listdir(tmp_path / "generations")) == ["1.json", "2.json"]


def test_what_a_crash_left_behind_is_overwritten(kept: Generations, tmp_path: Path) -> None:
    (tmp_path / "generations").mkdir()
    (tmp_path / "generations" / ".1.new").write_text("x" * 100_000)
    kept.save(1, RICH, TEXTS, "start")
    found = kept.load(1)
    assert found is not None
    assert found.config == RICH
