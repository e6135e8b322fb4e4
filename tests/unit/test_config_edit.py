from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from taskmaster_core.config import fix, parse
from taskmaster_core.config.edit import add_job, locate, write_atomically
from taskmaster_core.errors import ConfigInvalid, Refused

SEED = Path(__file__).parents[2] / "config" / "seed.toml"


def jobs(text):
    config = parse(text.encode(), "x").config
    assert config is not None
    return config.jobs


# check --fix


def test_C09_the_seed_is_mended_without_touching_anything_else():
    text, changes = fix(SEED.read_bytes())
    assert text == SEED.read_bytes().replace(b"0777", b"0o777")
    assert changes == ["line 6: `0777` became `0o777`"]
    assert fix(text) == (text, [])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('command = "x"', 'cmd = "x"'),
        ("startsecs = 3 # why", "successdelay = 3 # why"),
        ('autorestart="unexpected"', 'restart="on-error"'),
        ("redirect_stderr = true", 'stderr = "stdout"'),
        ("environment = 'A=1'", 'env = { "A" = "1" }'),
        ('exit_codes = [0, "TERM"]', 'exitcodes = [0, "TERM"]'),
        ('"user" = "root"', 'uid = "root"'),
    ],
)
def test_a_foreign_key_becomes_ours(before, after):
    head = b'# a job\n[[task]]\nname = "\xc3\xa9"\n'
    text, changes = fix(head + before.encode() + b"\n")
    assert text == head + after.encode() + b"\n"
    assert changes


@pytest.mark.parametrize(
    "line",
    ["autostrat = true", 'autorestart = "perhaps"', "priority = 3", "umask = 22", 'cmd = "x"\ncommand = "y"', "x = "],
)
def test_what_needs_a_decision_is_left_alone(line):
    text = f'[[task]]\nname = "a"\n{line}\n'.encode()
    assert fix(text) == (text, [])


def test_two_foreign_words_for_one_key_do_not_collide():
    text, _ = fix(b'[[task]]\nname = "a"\ncommand = "x"\nscript = "y"\n')
    assert parse(text, "x").problems


def test_C20_a_byte_order_mark_goes_and_line_ends_stay():
    text, changes = fix(b'\xef\xbb\xbf[[task]]\r\nname = "a"\r\ncommand = "x"\r\n')
    assert text == b'[[task]]\r\nname = "a"\r\ncmd = "x"\r\n'
    assert len(changes) == 2


def test_bytes_that_are_no_text_are_left_alone():
    assert fix(b"\xff\xfe\x00") == (b"\xff\xfe\x00", [])


# adding a job


def test_a_job_is_added_at_the_end_and_nothing_else_changes():
    before = SEED.read_text()
    after = add_job(before, "new one", ["sleep", "10"], autostart=False, env={"A": "1"})
    assert after.startswith(before)
    spec = jobs(after)[1]
    assert (spec.name, spec.autostart, spec.env) == ("new one", False, {"A": "1"})


def test_the_spelling_of_the_file_is_kept():
    assert '[task."new one"]' in add_job('[task.a]\ncmd = "x"\n', "new one", ["y"])
    assert "[[job]]" in add_job('[[job]]\nname = "a"\ncmd = "x"\n', "b", ["y"])
    assert "[job.b]" in add_job('[job.a]\ncmd = "x"\n', "b", ["y"])


@pytest.mark.parametrize(
    "argv",
    [
        ["echo", "bar"],
        ["sh", "-c", "a && b | c"],
        ["x", ""],
        ["a b", "*", "$X", '"'],
        ["A=1"],
        ["x", "~", "\\", "'"],
        ["awk", "{print $1}"],
    ],
)
def test_a_command_comes_back_as_it_was_given(argv):
    assert jobs(add_job("", "a", argv))[0].argv == tuple(argv)


def test_a_file_without_a_last_newline_gets_one():
    text = add_job('[[task]]\nname = "a"\ncmd = "x"', "b", ["y"])
    assert [job["name"] for job in tomllib.loads(text)["task"]] == ["a", "b"]


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(Refused) as caught:
        add_job(SEED.read_text(), "write bar", ["x"])
    assert caught.value.help


def test_a_job_that_would_not_load_is_refused_with_the_reason():
    with pytest.raises(ConfigInvalid) as caught:
        add_job("", "a/b", ["x"])
    assert "E204" in caught.value.help
    with pytest.raises(ConfigInvalid):
        add_job("", "a", ["x"], numprocess=-1)


def test_a_job_can_be_added_to_a_file_that_has_other_errors():
    assert "[[task]]" in add_job('[[task]]\nname = "a"\ncmd = "x"\nbad = 1\n', "b", ["y"])


def test_the_line_of_a_job_is_found():
    text = '# x\n[[task]]\nname = "a"\ncmd = "x"\n\n[[task]]\ncmd = "y"\nname = "b"\n'
    assert (locate(text, "a"), locate(text, "b"), locate(text, "c")) == (2, 6, None)
    assert locate('[task.a]\ncmd = "x"\n[task.b]\n', "b") == 3
    assert locate("not toml", "b") is None


# replacing a file


def test_C18_a_file_is_replaced_with_its_mode(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text("old")
    path.chmod(0o640)
    write_atomically(str(path), "new\r\n")
    assert path.read_bytes() == b"new\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["m.toml"]


def test_C18_a_new_file_can_be_read_by_others(tmp_path):
    write_atomically(str(tmp_path / "m.toml"), "new")
    assert stat.S_IMODE((tmp_path / "m.toml").stat().st_mode) == 0o644


def test_C18_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real.toml").write_text("old")
    (tmp_path / "link.toml").symlink_to("real.toml")
    write_atomically(str(tmp_path / "link.toml"), "new")
    assert (tmp_path / "link.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "new"


def test_C18_when_the_disk_is_full_the_old_file_is_intact(tmp_path, monkeypatch):
    path = tmp_path / "m.toml"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(str(path), "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["m.toml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_C18_the_owner_stays(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text("old")
    os.chown(path, 12345, 54321)
    write_atomically(str(path), "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)
