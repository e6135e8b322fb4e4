from __future__ import annotations

import os
import time

import pytest

from taskmaster_core.config import discover, load, parse, shrunk

ENVIRON = {"PATH": "/bin", "HOME": "/root"}


@pytest.fixture
def write(tmp_path):
    def put(name, text, mode=0o644):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return str(path)

    return put


def read(*paths, **more):
    return load(list(paths), {**ENVIRON, **more.pop("environ", {})}, **({"privileged": False} | more))


def job(name):
    return f'[[task]]\nname = "{name}"\ncmd = "x"\n'


def codes(loaded):
    return [problem.code for problem in loaded.problems]


def names(loaded):
    assert loaded.config is not None, loaded.problems
    return [each.name for each in loaded.config.jobs]


# includes


def test_includes_are_read_in_order_after_the_file_itself(write):
    main = write("m.toml", '[taskmaster]\ninclude = ["z.toml", "conf.d/*.toml"]\n' + job("main"))
    write("z.toml", job("z"))
    write("conf.d/b.toml", job("b"))
    write("conf.d/a.toml", job("a"))
    write("conf.d/.hidden.toml", job("hidden"))
    loaded = read(main)
    assert names(loaded) == ["main", "z", "a", "b"]
    directory = os.path.dirname(loaded.config.files[0])
    assert loaded.config.settings.include == (f"{directory}/z.toml", f"{directory}/conf.d/*.toml")
    assert [os.path.basename(path) for path in loaded.config.files] == ["m.toml", "z.toml", "a.toml", "b.toml"]


def test_paths_and_directories_are_those_of_the_included_file(write, tmp_path):
    main = write("m.toml", '[taskmaster]\ninclude = ["sub/a.toml"]\n')
    write("sub/a.toml", job("a") + 'stdout = "out"\n')
    spec = read(main).config.jobs[0]
    assert (spec.stdout, spec.workingdir) == (f"{tmp_path}/sub/out", f"{tmp_path}/sub")


def test_defaults_and_env_hold_for_included_files_which_may_say_otherwise(write):
    main = write(
        "m.toml", '[taskmaster]\ninclude = ["a.toml"]\n[defaults]\nretry = 7\nnice = 1\n[env]\nA = "m"\nB = "m"\n'
    )
    write("a.toml", '[defaults]\nretry = 8\n[env]\nB = "a"\n' + job("a"))
    spec = read(main).config.jobs[0]
    assert (spec.retry, spec.nice, spec.baseenv) == (8, 1, {"A": "m", "B": "a"})


def test_defaults_of_an_included_file_do_not_leak(write):
    main = write("m.toml", '[taskmaster]\ninclude = ["a.toml"]\n' + job("main"))
    write("a.toml", "[defaults]\nretry = 8\n")
    assert read(main).config.jobs[0].retry == 3


def test_a_pattern_without_a_match_is_no_error(write, tmp_path):
    (tmp_path / "conf.d").mkdir()
    assert names(read(write("m.toml", '[taskmaster]\ninclude = ["conf.d/*.toml"]\n'))) == []


def test_a_file_that_two_patterns_match_is_read_once(write):
    main = write("m.toml", '[taskmaster]\ninclude = ["a.toml", "*.toml"]\n')
    write("a.toml", job("a"))
    problem = read(main).problems[0]  # the second pattern matches the file itself, too
    assert problem.code == "E005"


def test_C14_a_loop_is_told_with_its_chain(write):
    main = write("m.toml", '[taskmaster]\ninclude = ["a.toml"]\n')
    write("a.toml", '[taskmaster]\ninclude = ["m.toml"]\n')
    loaded = read(main)
    assert codes(loaded) == ["E005"]
    assert "m.toml → " in loaded.problems[0].message
    assert (os.path.basename(loaded.problems[0].file), loaded.problems[0].line) == ("a.toml", 2)


def test_C14_a_loop_through_a_symbolic_link_is_one_too(write, tmp_path):
    main = write("m.toml", '[taskmaster]\ninclude = ["l.toml"]\n')
    (tmp_path / "l.toml").symlink_to(main)
    assert codes(read(main)) == ["E005"]


def test_C14_a_missing_include_is_told_at_its_place(write):
    main = write("m.toml", '[taskmaster]\ninclude = ["conf.d/*.toml", "gone.toml"]\n')
    loaded = read(main)
    assert [(each.code, each.line, each.column) for each in loaded.problems] == [("E005", 2, 12), ("E005", 2, 29)]
    assert "no such file" in loaded.problems[1].message


def test_C14_a_missing_include_of_an_include_names_the_chain(write):
    main = write("m.toml", '[taskmaster]\ninclude = ["a.toml"]\n')
    write("a.toml", '[taskmaster]\ninclude = ["gone.toml"]\n')
    message = read(main).problems[0].message
    assert "m.toml → " in message
    assert message.endswith("a.toml)")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_C14_a_directory_that_cannot_be_read_is_told(write, tmp_path):
    (tmp_path / "conf.d").mkdir(mode=0o000)
    assert codes(read(write("m.toml", '[taskmaster]\ninclude = ["conf.d/*.toml"]\n'))) == ["E005"]


def test_C14_an_include_that_is_a_directory_is_told(write, tmp_path):
    (tmp_path / "conf.d").mkdir()
    assert codes(read(write("m.toml", '[taskmaster]\ninclude = ["conf.d"]\n'))) == ["E005"]


def test_C14_includes_nested_too_deeply_are_told(write):
    for number in range(20):
        write(f"{number}.toml", f'[taskmaster]\ninclude = ["{number + 1}.toml"]\n')
    assert codes(read(write("m.toml", '[taskmaster]\ninclude = ["0.toml"]\n'))) == ["E005"]


def test_an_included_file_cannot_change_the_core(write):
    main = write("m.toml", '[taskmaster]\ninclude = ["a.toml"]\n')
    write("a.toml", "[taskmaster]\nmaxstarts = 3\n")
    loaded = read(main)
    assert codes(loaded) == ["E308"]
    assert loaded.problems[0].line == 2


# several files


def test_jobs_of_several_files_are_one_config(write):
    assert names(read(write("a.toml", job("a")), write("b.toml", job("b")))) == ["a", "b"]


def test_one_name_in_two_files_is_told_with_both(write):
    loaded = read(write("a.toml", job("x")), write("b.toml", job("x")))
    assert codes(loaded) == ["E301"]
    assert loaded.problems[0].file.endswith("b.toml")
    assert loaded.problems[0].also[0].file.endswith("a.toml")


def test_a_setting_in_two_files_has_one_value(write):
    one, two = write("a.toml", "[taskmaster]\nmaxstarts = 3\n"), write("b.toml", "[taskmaster]\nmaxstarts = 4\n")
    assert codes(read(one, two)) == ["E308"]
    assert read(one, write("c.toml", "[taskmaster]\nmaxstarts = 3\n")).config.settings.maxstarts == 3


def test_the_texts_and_the_digest_tell_whether_anything_changed(write):
    path = write("a.toml", job("a"))
    before = read(path)
    assert before.texts == {path: job("a").encode()}
    assert read(path).digest == before.digest
    write("a.toml", job("b"))
    assert read(path).digest != before.digest


def test_an_overlay_replaces_a_file_before_it_is_written(write):
    path = write("a.toml", job("a"))
    assert names(read(path, overlay={path: job("b").encode()})) == ["b"]


# what cannot be read


@pytest.mark.parametrize("path", ["/nonexistent/x.toml", "/", "/dev/null", "a\0b", "x" * 5000])
def test_C03_a_file_that_cannot_be_read_is_a_problem(path):
    loaded = read(path)
    assert codes(loaded) == ["E001"]
    assert loaded.config is None


def test_a_pipe_in_the_place_of_a_file_does_not_hold_the_core(tmp_path):
    os.mkfifo(tmp_path / "p")
    began = time.monotonic()
    assert codes(read(str(tmp_path / "p"))) == ["E001"]
    assert time.monotonic() - began < 5


def test_C12_a_file_of_100_MB_is_refused_without_reading_it_all(tmp_path):
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    loaded = read(str(path))
    assert codes(loaded) == ["E004"]
    assert len(loaded.texts[str(path)]) < 2_000_000


# C15: whom a root core trusts


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o602])
def test_C15_a_file_that_everybody_can_write_is_refused_by_root(write, mode):
    path = write("m.toml", job("a"), mode)
    assert codes(read(path, privileged=True)) == ["E006"]
    assert names(read(path, privileged=True, environ={"TASKMASTER_TRUST_CONFIG": "1"})) == ["a"]
    assert names(read(path, privileged=False)) == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_C15_a_file_of_another_user_is_refused_by_root(write):
    path = write("m.toml", job("a"))
    os.chown(path, 12345, 0)
    assert codes(read(path, privileged=True)) == ["E006"]
    os.chown(path, 0, 12345)
    os.chmod(path, 0o664)
    assert codes(read(path, privileged=True)) == ["E006"]
    os.chown(path, 0, 0)
    assert names(read(path, privileged=True)) == ["a"]


def test_C15_an_included_file_and_an_envfile_are_held_to_the_same(write):
    main = write("m.toml", '[taskmaster]\ninclude = ["a.toml"]\n')
    write("a.toml", job("a"), 0o666)
    assert codes(read(main, privileged=True)) == ["E006"]
    other = write("n.toml", job("a") + 'envfile = "e.env"\n')
    write("e.env", "A=1\n", 0o666)
    assert codes(read(other, privileged=True)) == ["E008"]


# envfiles


def test_an_envfile_gives_literal_values(write):
    path = write("m.toml", job("a") + 'envfile = ["e.env", "more.env"]\n')
    write("e.env", "# c\nA=1\nexport B='x ${A} {name}'\nC=\"q r\"\nEMPTY=\n")
    write("more.env", "A=2\n")
    loaded = read(path)
    assert loaded.config.jobs[0].fileenv == {"A": "2", "B": "x ${A} {name}", "C": "q r", "EMPTY": ""}
    assert [os.path.basename(each) for each in loaded.texts] == ["m.toml", "e.env", "more.env"]
    assert loaded.config.files == tuple(loaded.texts)


def test_an_envfiles_variables_are_known_to_templates(write):
    path = write("m.toml", job("a") + 'envfile = "e.env"\nstdout = "/x/${A}"\n')
    write("e.env", "A=1\n")
    assert read(path).config is not None


@pytest.mark.parametrize("spelling", ["?e.env", "e.env?"])
def test_an_envfile_that_may_be_missing(write, spelling):
    path = write("m.toml", job("a") + f'envfile = "{spelling}"\n')
    assert read(path).config.jobs[0].fileenv == {}
    write("e.env", "A=1\n")
    assert read(path).config.jobs[0].fileenv == {"A": "1"}


def test_an_envfile_that_must_not_be_missing_is_told_at_its_place(write):
    loaded = read(write("m.toml", job("a") + 'envfile = ["/dev/null", "gone.env"]\n'))
    assert [(each.code, each.line) for each in loaded.problems] == [("E008", 4), ("E008", 4)]
    assert "may be missing" in loaded.problems[1].help


@pytest.mark.parametrize("text", ["A B C\n", "JUST_A_NAME\n", b"A=caf\xe9\n", b"A=\0\n"])
def test_an_envfile_that_is_none_is_told(write, text):
    path = write("m.toml", job("a") + 'envfile = "e.env?"\n')
    write("e.env", text)
    assert codes(read(path)) == ["E008"]


def test_a_file_of_secrets_that_everybody_can_read_is_said(write):
    path = write("m.toml", job("a") + 'envfile = "e.env"\n')
    write("e.env", "DB_PASSWORD=x\n", 0o644)
    assert codes(read(path)) == ["W105"]
    write("e.env", "DB_PASSWORD=x\n", 0o600)
    assert codes(read(path)) == []


# texts without files


def test_parse_reads_no_other_file(write):
    text = '[taskmaster]\ninclude = ["gone.toml"]\n' + job("a") + 'envfile = "gone.env"\n'
    loaded = parse(text.encode(), "/nowhere/m.toml")
    assert loaded.config is not None
    assert loaded.config.jobs[0].workingdir == "/nowhere"


# what looks like a file that is being written


@pytest.mark.parametrize(
    ("new", "held"),
    [(b"", True), (b" \n\n", True), (b"a = 1\nb", True), (b"a = 1\n", True), (b"a = 1\nb = 2\n", False),
     (b"a = 1\nb = 2", False), (b"a = 1\nb = 3\n", False), (b"b = 2\n", False), (b"a = 1\nb = 2\nc = 3\n", False)],
)  # fmt: skip
def test_C02_an_empty_text_or_one_cut_short_is_held_back(new, held):
    assert shrunk(b"a = 1\nb = 2\n", new) is held


def test_C01_nothing_is_shorter_than_nothing():
    assert shrunk(b"", b"") is False
    assert shrunk(b"", b"a = 1") is False


# where the config is


def test_a_named_file_is_used_even_if_it_is_missing():
    found = discover(["a.toml", "/b.toml"], {"TASKMASTER_CONFIG": "/c.toml"}, "/here")
    assert found.paths == ("/here/a.toml", "/b.toml")


def test_the_variable_comes_before_the_usual_places(tmp_path):
    (tmp_path / "taskmaster.toml").touch()
    found = discover([], {"TASKMASTER_CONFIG": "x.toml"}, str(tmp_path))
    assert (found.paths, found.reason) == ((f"{tmp_path}/x.toml",), "$TASKMASTER_CONFIG")


def test_the_usual_places_in_order(tmp_path):
    home, here = tmp_path / "home", tmp_path / "here"
    (home / "taskmaster").mkdir(parents=True)
    here.mkdir()
    (home / "taskmaster" / "taskmaster.toml").touch()
    environ = {"XDG_CONFIG_HOME": str(home), "HOME": "/nonexistent"}
    assert discover([], environ, str(here)).reason == "$XDG_CONFIG_HOME"
    (here / "taskmaster.toml").touch()
    found = discover([], environ, str(here))
    assert found.paths == (f"{here}/taskmaster.toml",)
    assert found.looked == (
        f"{here}/taskmaster.toml",
        f"{home}/taskmaster/taskmaster.toml",
        "/etc/taskmaster/taskmaster.toml",
    )


def test_a_home_without_the_variable(tmp_path):
    (tmp_path / ".config" / "taskmaster").mkdir(parents=True)
    (tmp_path / ".config" / "taskmaster" / "taskmaster.toml").touch()
    assert discover([], {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}, "/nonexistent").reason == "~/.config"


def test_no_config_anywhere_says_where_it_was_looked_for():
    found = discover([], {}, "/nonexistent")
    assert found.paths == ()
    assert found.looked[0] == "/nonexistent/taskmaster.toml"
