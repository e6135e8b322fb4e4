from __future__ import annotations

import math
import shlex
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.config import values
from taskmaster_core.config.command import read
from taskmaster_core.config.foreign import KEYS, hint, nearest
from taskmaster_core.config.model import Task
from taskmaster_core.config.values import Invalid, Several
from taskmaster_core.config.words import Unclosed, split

HUGE = pytest.param(16**5000, id="huge")  # longer than what int() prints


def fails(read_value, value):
    with pytest.raises(Invalid) as caught:
        read_value(value)
    return caught.value


# numbers


@pytest.mark.parametrize("value", [True, False, "3", "", 1.5, math.nan, math.inf, [], {}, None])
def test_C10_an_integer_is_nothing_else(value):
    assert fails(values.integer(0, 10), value).code == "E201"


@pytest.mark.parametrize("value", [-1, 11, 10**18, HUGE])
def test_C10_an_integer_out_of_range_is_told_the_range(value):
    error = fails(values.integer(0, 10), value)
    assert error.code == "E202"
    assert "0 to 10" in error.message
    assert len(error.message) < 80


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -0.5, 1e300, 10**400, HUGE])
def test_C10_a_duration_is_finite_and_in_range(value):
    error = fails(values.duration(0, 3600), value)
    assert error.code == "E202"
    assert "0s to 1h" in error.message


@pytest.mark.parametrize("value", [True, [], {}])
def test_C10_a_duration_is_no_boolean_and_no_table(value):
    assert fails(values.duration(0, 3600), value).code == "E201"


@pytest.mark.parametrize("value", [True, "1", math.nan, 1e9])
def test_C10_a_factor_is_a_number_in_range(value):
    assert fails(values.number(1, 100), value).code in ("E201", "E202")


def test_a_factor_may_be_written_as_an_integer():
    assert values.number(1, 100)(2) == 2.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1m30s", 90),
        ("24h", 86400),
        ("1.5s", 1.5),
        ("7d", 604800),
        ("2w", 1209600),
        (3, 3),
        (0.25, 0.25),
    ],
)
def test_a_duration_in_words(text, seconds):
    assert values.duration(0, 1e9)(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "10 s", "1m 30s", "ten", "-5s", "1y", "5S", "1e3s", "٣s"])
def test_what_is_no_duration_is_refused(text):
    assert fails(values.duration(0, 1e9), text).code == "E203"


def test_a_duration_in_quotes_without_a_unit_is_told_both_spellings():
    assert fails(values.duration(0, 1e9), "10").help == 'write 10 or "10s"'


@pytest.mark.parametrize(
    ("text", "count"),
    [("10MB", 10_000_000), ("64MiB", 67_108_864), ("1.5kB", 1500), ("2 GiB", 2**31), (123, 123), ("7B", 7)],
)
def test_a_size_in_words(text, count):
    assert values.size(0, 2**50)(text) == count


@pytest.mark.parametrize("value", ["", "MB", "10 XB", "-1MB", -1, 2**51, HUGE, True, 1.5])
def test_what_is_no_size_is_refused(value):
    assert fails(values.size(0, 2**50), value).code in ("E201", "E202", "E203")


def test_an_ambiguous_size_is_told_both_readings():
    assert fails(values.size(0, 2**50), "10M").help == 'write "10MB" or "10MiB"'


@pytest.mark.parametrize(
    ("value", "ours"),
    [
        ("yes", "true"),
        ("off", "false"),
        (1, "true"),
        (0, "false"),
        ("x", None),
        pytest.param(16**5000, None, id="huge"),
    ],
)
def test_a_boolean_is_nothing_else(value, ours):
    assert fails(values.boolean, value).help == (f"write {ours}" if ours else "")


def test_a_string_is_nothing_else():
    assert fails(values.text, 5).help == 'write "5"'
    assert fails(values.text, True).help == 'write "true"'
    assert "NUL" in fails(values.text, "a\0b").message


# words


def test_a_word_close_to_one_of_ours_is_told():
    assert fails(values.choice("always", "never"), "alway").help == 'did you mean "always"?'


def test_a_word_of_another_program_is_told_ours():
    read_value = values.choice("always", "never", also={"true": "always"})
    assert fails(read_value, True).help == 'write "always"'
    assert fails(read_value, 3).help == ""


def test_the_nearest_word_ignores_case_and_joiners():
    assert nearest("STOP_SIGNAL", ["stopsignal", "x"]) == "stopsignal"
    assert nearest("q" * 100_000, ["stopsignal"]) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigint", 2),
        (9, 9),
        ("RTMIN+1", signal.SIGRTMIN + 1),
        ("SIGRTMAX", signal.SIGRTMAX),
    ],
)
def test_a_signal_by_name_or_number(value, number):
    assert values.signum(value) == number


@pytest.mark.parametrize("value", ["TREM", "", 0, 65, 32, -1, HUGE, "RTMIN+99", "RTMAX+1"])
def test_an_unknown_signal_is_refused(value):
    assert fails(values.signum, value).code == "E206"


def test_a_signal_mistyped_is_told():
    assert fails(values.signum, "TREM").help == 'did you mean "TERM"?'
    assert fails(values.signum, True).code == "E201"


@given(st.sampled_from(sorted(signal.valid_signals())))
def test_a_signals_name_is_read_back(number):
    assert values.signum(values.signal_name(number)) == number


def test_exit_codes_are_codes_and_signals():
    assert values.exitcodes([0, 255, "TERM", "SIGKILL"]) == (0, 255, "SIGTERM", "SIGKILL")
    assert values.exitcodes(3) == (3,)


def test_each_wrong_exit_code_is_told():
    with pytest.raises(Several) as caught:
        values.exitcodes([0, 256, "NONE", True, "3"])
    assert [error.path for error in caught.value.invalids] == [(1,), (2,), (3,), (4,)]


# names


@pytest.mark.parametrize("name", ["web", "write bar", "ä-ö", "a.b", "emoji \N{ROCKET}", "x" * 64, "a,b;c", "1"])
def test_C11_a_name_people_use_is_allowed(name):
    assert values.job_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a\0b", "a\nb", "a/b", "..", ".x", "-x", "!x", "x" * 65, "x" * 300, "a:b", "@a", "a*", "a?", "[a]", "a\\b",
     "all",
     " a", "a ", "\N{ROCKET}" * 40, "a\u202eb", "\x1b[31m", 3, True],
)  # fmt: skip
def test_C11_a_name_that_would_break_something_is_refused(name):
    error = fails(values.job_name, name)
    assert error.code in ("E201", "E203", "E204")
    assert len(error.message) < 160


# umask


@pytest.mark.parametrize(
    ("text", "mask"), [("022", 0o22), ("0o22", 0o22), ("22", 0o22), ("0", 0), ("0777", 0o777), ("777", 0o777)]
)
def test_C09_an_umask_in_quotes_is_octal(text, mask):
    assert values.umask(text) == mask


@pytest.mark.parametrize(
    ("token", "mask"), [("0o022", 0o22), ("0o0", 0), ("7", 7), ("0", 0), ("0777", 0o777), ("0o0_22", 0o22)]
)
def test_C09_the_spelling_of_an_integer_decides(token, mask):
    assert values.umask_of(token) == mask


@pytest.mark.parametrize(
    ("token", "readings"),
    [
        ("22", ["0o022", "0o026"]),
        ("18", ["0o022"]),
        ("777", ["0o777"]),
        ("63", ["0o063", "0o077"]),
        ("8", ["0o010"]),
        ("511", ["0o511", "0o777"]),
    ],
)
def test_C09_a_decimal_umask_is_an_error_that_shows_its_readings(token, readings):
    error = fails(values.umask_of, token)
    assert error.code == "E205"
    for reading in readings:
        assert reading in error.help


@pytest.mark.parametrize("value", ["", "888", "0x12", "1777", "-1", "rwx", True, 1.5, []])
def test_C09_what_is_no_umask_is_refused(value):
    assert fails(values.umask, value).code in ("E201", "E205")


@pytest.mark.parametrize("token", ["0x12", "0b1", "-1", "+2", "0o1777", "9999999999999"])
def test_C09_other_spellings_of_integers_are_no_umask(token):
    assert fails(values.umask_of, token).code == "E205"


# commands

_SAFE = st.text(alphabet="ab c\"'\\\t=-./", max_size=30)


@given(_SAFE)
def test_a_command_is_split_as_the_standard_library_does(text):
    try:
        expected = shlex.split(text)
    except ValueError:
        with pytest.raises(Unclosed):
            split(text)
        return
    assert list(split(text).words) == expected


def test_a_variable_with_spaces_in_its_default_is_one_word():
    assert split("echo ${A:-b c}/x y").words == ("echo", "${A:-b c}/x", "y")


@pytest.mark.parametrize(
    ("text", "operator"),
    [("a && b", "&&"), ("a | b", "|"), ("a > b", ">"), ("a; b", ";"), ("a $(b)", "$("), ("ls *", "*"), ("a || b", "||"),
     ("a &", "&"), ("a `b`", "`"), ("a 2>&1", ">&"), ("a < b", "<"), ("~/bin/x", "~"), ("a >> b", ">>")],
)  # fmt: skip
def test_C16_what_only_a_shell_understands_is_an_error_without_one(text, operator):
    with pytest.raises(Invalid) as caught:
        read(text, shell=False)
    assert caught.value.code == "E302"
    assert f"`{operator}`" in caught.value.message
    assert caught.value.help


@pytest.mark.parametrize(
    "text", ["a '&&' b", 'a "|" b', "a \\; b", "a 'x > y'", "a 'b*'", "x?a=1&b=2", "a~b", "awk '{print $1}'"]
)
def test_C16_the_same_in_quotes_is_an_argument(text):
    assert read(text, shell=False).warnings == ()


@pytest.mark.parametrize("text", ["", "   ", "''", "'a", 'a "b', "a \\"])
def test_C16_an_empty_command_or_an_open_quote_is_an_error(text):
    with pytest.raises(Invalid) as caught:
        read(text, shell=False)
    assert caught.value.code == "E302"


def test_C16_a_percent_sign_is_an_argument():
    assert read("date +%H%M '%s'", shell=False).argv == ("date", "+%H%M", "%s")


def test_an_assignment_before_a_command_is_told_its_place():
    with pytest.raises(Invalid) as caught:
        read("A=1 python x", shell=False)
    assert caught.value.help == 'write env = { A = "1" }, or shell = true'


def test_C16_a_bare_variable_is_passed_and_said():
    found = read("echo $HOME '$HOME'", shell=False)
    assert found.argv == ("echo", "$HOME", "$HOME")
    assert [warning[0] for warning in found.warnings] == ["W104"]


def test_a_shells_own_word_is_said():
    assert [warning[0] for warning in read("exec sleep 1", shell=False).warnings] == ["W106"]


def test_with_a_shell_everything_is_its_own():
    found = read("a && b > c; exec d", shell=True)
    assert (found.argv, found.shell, found.warnings) == (("/bin/sh", "-c", "a && b > c; exec d"), "/bin/sh", ())
    assert read("a", shell="/bin/bash").argv[0] == "/bin/bash"


@pytest.mark.parametrize("cmd", ["", " ", ("a", "b")])
def test_a_shell_needs_one_string(cmd):
    with pytest.raises(Invalid):
        read(cmd, shell=True)


def test_an_array_is_taken_as_it_is():
    assert read(("a b", "*", "$X"), shell=False).argv == ("a b", "*", "$X")


@given(st.text(max_size=60))
def test_any_command_is_split_or_refused(text):
    code = "E302"
    try:
        read(text, shell=False)
    except Invalid as error:
        code = error.code
    assert code == "E302"


# foreign words


@pytest.mark.parametrize("key", sorted(KEYS))
def test_a_foreign_key_is_none_of_ours_and_leads_to_one(key):
    assert key not in Task.model_fields
    found = hint(key, 1)
    assert found is not None
    assert found.key in Task.model_fields if found.key else found.note


@pytest.mark.parametrize(
    ("key", "value", "ours"),
    [
        ("command", "x", ("cmd", '"x"')),
        ("startsecs", 1, ("successdelay", "1")),
        ("autorestart", "unexpected", ("restart", '"on-error"')),
        ("autorestart", True, ("restart", '"always"')),
        ("autorestart", False, ("restart", '"never"')),
        ("autorestart", "perhaps", ("restart", None)),
        ("redirect_stderr", True, ("stderr", '"stdout"')),
        ("stdout_logfile", "AUTO", ("stdout", '"log"')),
        ("environment", 'A=1,B="x y"', ("env", '{ "A" = "1", "B" = "x y" }')),
        ("environment", ["A=1"], ("env", '{ "A" = "1" }')),
        ("environment", {"A": 1}, ("env", '{ "A" = "1" }')),
        ("environment", 3, ("env", None)),
        ("min_uptime", 1500, ("successdelay", '"1500ms"')),
        ("EnvironmentFile", "-/etc/x", ("envfile", '"/etc/x?"')),
        ("SuccessExitStatus", "1 SIGKILL", ("exitcodes", '[1, "SIGKILL"]')),
        ("copy_env", True, ("cleanenv", "false")),
        ("exit_codes", [0, 1], ("exitcodes", None)),
    ],
)  # fmt: skip
def test_a_foreign_value_is_translated(key, value, ours):
    found = hint(key, value)
    assert found is not None
    assert (found.key, found.value) == ours


def test_a_word_of_no_program_has_no_hint():
    assert hint("autostrat", True) is None
