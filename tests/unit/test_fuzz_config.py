"""Any file is judged quickly and completely: problems with their lines, never an exception (C02, C03, C10-C12, C20).

The keys come from the schema itself, so a new key is fuzzed from its first day. `test_config_load.py` has the walks
over TOML as such; here each known key gets values of every kind, files grow deep, and edits keep what people wrote.
"""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_core.config import Loaded, fix, parse, schema
from taskmaster_core.config.edit import add_job, set_settings
from taskmaster_core.errors import TaskmasterError

DEEP = os.environ.get("TASKMASTER_HYPOTHESIS") == "deep"
ENVIRON = {"PATH": "/bin", "HOME": "/root"}
SLOW = 1.0
"""Seconds of processor time in which any file of this size must be judged."""


def judged(text: str | bytes) -> Loaded:
    """Return what is made of a file, having checked what holds for any."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    began = time.process_time()
    loaded = parse(raw, "t.toml", ENVIRON, privileged=True)
    assert time.process_time() - began < SLOW
    errors = [each for each in loaded.problems if each.severity == "error"]
    assert (loaded.config is None) == bool(errors)
    for each in loaded.problems:
        assert each.code
        assert each.message
        assert each.file == "t.toml"
        assert 0 <= each.line <= raw.count(b"\n") + raw.count(b"\r") + 2
        assert each.column <= len(each.text) + 1
    return loaded


def keys_of(node: dict[str, Any], defs: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all keys below a node of the JSON Schema."""
    if "$ref" in node:
        node = defs[node["$ref"].rpartition("/")[2]]
    found = []
    for name, inner in node.get("properties", {}).items():
        found += [(*above, name), *keys_of(inner, defs, (*above, name))]
    return found


def all_keys() -> list[tuple[str, ...]]:
    """Return each key with the table it stands in: `task`, `defaults`, `taskmaster`, `env`."""
    whole = schema()
    defs = whole.get("$defs", {})
    found = []
    for name, node in whole["properties"].items():
        for option in (node, node.get("items", {}), *node.get("anyOf", ()), *node.get("oneOf", ())):
            inner = option.get("items", option) if isinstance(option, dict) else {}
            found += [(name, *path) for path in keys_of(inner, defs)]
    return sorted(set(found))


KEYS = [path for path in all_keys() if path[0] != "job"]  # the other spelling of task
SCALARS = (
    "0", "-1", "1", "3.5", "1e400", "-1e9", "nan", "-inf", "true", "0o777", "0777", "9223372036854775808", "1" * 50,
    '""', '"x"', '"10s"', '"1e9d"', '"-5s"', '"${A:?no}"', '"{index"', '"{.Time}"', '"\\u0000"', '"\\ud7ff"', '"~/.."',
    '"/dev/null"',
    '"TERM"', '"TREM"', '"99999999999MB"', "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[]", "[[]]", '[""]',
    '["a", 1]',
    "{}", "{x = 1}", '{"" = ""}', '[["INT", "10s"], ["TERM"]]', "'''\n\n'''",
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(SCALARS) | st.integers().map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr),
    lambda inner: st.lists(inner, max_size=3).map(lambda its: f"[{', '.join(its)}]")
    | inner.map(lambda its: f"{{first = {its}}}"),
    max_leaves=4,
)  # fmt: skip


def file_with(path: tuple[str, ...], value: str) -> str:
    """Return a file that is right but for one key."""
    table, *names = path
    line = f"{'.'.join(names)} = {value}\n"
    job = '[[task]]\nname = "web"\ncmd = "true"\n'
    if table in ("task", "job"):
        return f"{job}{line}".replace("[[task]]", f"[[{table}]]")
    return f"[{table}]\n{line}\n{job}"


def test_the_keys_come_from_the_schema() -> None:
    assert ("task", "cmd") in KEYS
    assert ("task", "backoff", "jitter") in KEYS
    assert ("taskmaster", "journalkeep") in KEYS
    assert len(KEYS) > 90


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_C10_every_key_with_a_value_of_every_kind_is_judged(path: tuple[str, ...]) -> None:
    """Whatever stands after a key of the schema is taken or refused with its line, never an exception."""
    for value in SCALARS:
        loaded = judged(file_with(path, value))
        known = [each for each in loaded.problems if each.line]
        assert loaded.config is not None or known, loaded.problems


@settings(max_examples=4000 if DEEP else 80)
@given(st.lists(st.tuples(st.sampled_from(KEYS), VALUES), min_size=1, max_size=6))
def test_C03_files_with_several_strange_values_tell_of_all_of_them(pairs: list[tuple[tuple[str, ...], str]]) -> None:
    files = (file_with(path, value).replace('"web"', f'"web{at}"') for at, (path, value) in enumerate(pairs))
    judged("\n".join(files))


@settings(max_examples=2000 if DEEP else 100)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda it: it.encode("utf-8", "surrogatepass")))
def test_C20_any_bytes_after_a_good_file_are_judged(raw: bytes) -> None:
    judged(b'[[task]]\nname = "web"\ncmd = "true"\n' + raw)


@pytest.mark.parametrize("text", [
    "a = " + "[" * 100_000, "a = " + "[" * 400 + "]" * 400, "a = " + "{a=" * 100_000, "[" + "a." * 50_000 + "a]\n",
    "a" + ".a" * 50_000 + " = 1\n", "[[" + "a." * 5_000 + "a]]\n", "a = '" + "x" * 1_000_000 + "'\n", "#" * 1_000_000,
    "\n" * 500_000, "[[task]]\n" * 5_000, "[env]\n" + "".join(f"A{n} = 'x'\n" for n in range(5_000)),
    "a = " + "9" * 100_000,
], ids=range(12))  # fmt: skip
def test_C12_deep_and_large_files_are_judged_within_seconds(text: str) -> None:
    """A file that is nested without end, or long beyond reason, is refused or read; the core's time is not lost."""
    began = time.process_time()
    loaded = parse(text.encode(), "t.toml", ENVIRON, privileged=True)
    assert time.process_time() - began < 5 * SLOW
    assert loaded.config is not None or loaded.problems


# Edits ---------------------------------------------------------------------------------------------------------------

COMMENT = st.sampled_from(["# one", "#", "# ä → ü", "  # indented", "# umask = 0777", "# [task]", ""])
COMMENTS = st.lists(COMMENT, max_size=4)
FILES = st.builds(
    lambda above, inside, after, mask, ends: ends.join(
        [*above, "[[task]]  # the first", 'name = "web"', *inside, "cmd = 'true'  # nothing", f"umask = {mask} # mask",
         *after, ""]
    ),
    COMMENTS, COMMENTS, COMMENTS, st.sampled_from(["0777", "0o22", '"022"', "0o777"]), st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip


@settings(max_examples=1000 if DEEP else 30)
@given(FILES)
def test_C09_fix_changes_the_number_and_no_other_byte(text: str) -> None:
    """`check --fix` rewrites what it can; comments, spaces and line ends stay, and a second time changes nothing."""
    fixed, changes = fix(text.encode())
    assert fix(fixed) == (fixed, [])
    assert bool(changes) is ("umask = 0777 #" in text.replace("# umask = 0777", ""))
    assert fixed.decode() == text.replace("umask = 0777 # mask", "umask = 0o777 # mask")


@settings(max_examples=1000 if DEEP else 30)
@given(FILES, st.text(min_size=1, max_size=12), st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_C18_added_job_leaves_every_byte_of_the_file_in_its_place(text: str, name: str, argv: list[str]) -> None:
    """`add` writes a job that loads, behind what was there, or refuses; nothing that people wrote is touched."""
    try:
        added = add_job(text, name, argv)
    except TaskmasterError:
        return
    assert added.startswith(text)
    jobs = {job.name for job in (judged(added).config or pytest.fail("it does not load")).jobs}
    assert jobs == {"web", name}


@settings(max_examples=1000 if DEEP else 30)
@given(FILES, st.sampled_from(["debounce", "maxstarts", "loglevel"]))
def test_C18_setting_leaves_every_line_of_the_file_in_its_place(text: str, key: str) -> None:
    value: Any = {"debounce": 0.5, "maxstarts": 7, "loglevel": "debug"}[key]
    changed = set_settings(text, {key: value})
    kept = iter(changed.splitlines())
    assert all(line in kept for line in text.splitlines())
    assert (judged(changed).config or pytest.fail("it does not load")).settings is not None
