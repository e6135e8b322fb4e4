"""What lies on the disk or with the shim may be anything: no byte of it stops a start (L06, G5).

Lock records and amendments go to a real shim, memos and rows to the core's readers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskmaster_core import memos
from taskmaster_core.shim import frames
from taskmaster_core.spec import Config, JobSpec, Settings
from tests.unit.shim_harness import Shim, alive, wait_for

NEST, NESTED_GOALS = "<nested>", "<nested goals>"
"""What stands for text that is nested too deep to be printed when a test fails."""

DEEP = os.environ.get("TASKMASTER_HYPOTHESIS") == "deep"
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from([2**31, 2**63, 10**30, -(10**30)]),
    st.floats(allow_nan=False), st.text(max_size=8), st.sampled_from(["job:0", "nocolon", "a:", "/tmp", "../x", "\0"]),
)  # fmt: skip
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
GOOD = {
    "key": "job:0", "stop": [[15, 1.0]], "killgroup": True, "nice": 0, "leaf": None, "tags": ["TASKMASTER_RUN=1"],
    "pidns": os.stat("/proc/self/ns/pid").st_ino,
    "sinks": {"out": {"kind": "file", "path": "/tmp/x", "tag": "job:0", "fifo": [1, 2]}},
}  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn) -> str:
    """Return a recipe of which one thing is of the wrong kind or missing, or anything at all."""
    if draw(st.booleans()):
        return draw(st.one_of(JSON.map(json.dumps), st.text(max_size=20), st.just(NEST)))
    said = dict(GOOD)
    name = draw(st.sampled_from([*sorted(GOOD), "told"]))
    if draw(st.integers(0, 4)):
        said[name] = draw(JSON)
    else:
        said.pop(name, None)
    if name == "sinks" and draw(st.booleans()):
        said["sinks"] = {"out": {**GOOD["sinks"]["out"], draw(st.sampled_from(["path", "fifo", "tag"])): draw(JSON)}}  # type: ignore[index]
    return json.dumps(said)


NUMBERS = st.sampled_from(["0", "1x", "-1", "4194303", str(2**31), str(10**30), "", "9" * 5000])
RECORDS = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda pid, started, boot, run, recipe, end: f"{pid} {started} {boot} {run} {recipe}{end}".encode(
            "utf-8", "surrogatepass"
        ),
        st.just("4194303") | NUMBERS, st.just("77") | NUMBERS, st.just(BOOT) | st.text(max_size=4),
        st.just("3") | NUMBERS, recipes(), st.sampled_from(["\n", "\n", "\n", ""]),
    ),
)  # fmt: skip


def grown(text: Any) -> Any:
    return {NEST: "[" * 60_000, NESTED_GOALS: '{"goal":' * 5000}.get(text, text) if isinstance(text, str) else text


def runs_of(shim: Shim) -> Path:
    runs = shim.state / "runs"
    runs.mkdir(parents=True)
    shim.state.chmod(0o700)
    runs.chmod(0o700)
    return runs


@settings(max_examples=40 if DEEP else 4, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(RECORDS, st.none() | st.binary(max_size=40) | JSON.map(lambda it: json.dumps(it).encode())),
                min_size=30, max_size=60))  # fmt: skip
def test_L06_any_bytes_in_records_and_amendments_are_survived(records: list[tuple[bytes, bytes | None]]) -> None:
    """A state directory full of damaged records starts like an empty one: what makes no sense holds nobody up."""
    with tempfile.TemporaryDirectory(prefix="tm-", dir="/tmp") as name:
        shim = Shim(Path(name))
        try:
            runs = runs_of(shim)
            for number, (record, amendment) in enumerate(records):
                (runs / f"job%3A{number}.lock").write_bytes(record.replace(NEST.encode(), b"[" * 60_000))
                if amendment is not None:
                    (runs / f"job%3A{number}.now").write_bytes(amendment)
            core = shim.open()
            core.order({"t": "state"})  # it goes on to obey
            for run in core.expect("hello")["runs"]:
                assert isinstance(run["key"], str)
                assert run["run"] < 2**53
        finally:
            shim.close()


HALF = (  # all that a run needs, but nonsense about its input
    '{"key":"job:0","stop":[[15,0.1]],"killgroup":true,"leaf":null,"tags":[],"nice":0,"inlet":[3],"sinks":{}}'
)
SENSELESS = ["null", "5", "[]", '{"sinks": 3}', "{}", "[" * 60_000, '{"sinks":{},"key":"nocolon"}', HALF]


@pytest.mark.parametrize("recipe", SENSELESS, ids=lambda recipe: recipe[:20])
def test_L06_process_of_a_record_that_says_nonsense_is_ended_and_told(tmp_path: Path, recipe: str) -> None:
    """Of a record that is damaged behind its numbers the process is still known: it is ended, and that is said."""
    shim = Shim(tmp_path)
    left = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        started = Path(f"/proc/{left.pid}/stat").read_text().rpartition(")")[2].split()[19]
        (runs_of(shim) / "job%3A0.lock").write_text(f"{left.pid} {started} {BOOT} 3 {recipe}\n")
        core = shim.open()
        wait_for(lambda: not alive(left.pid), "the leftover is ended")
        assert any(str(left.pid) in each["message"] for each in core.all("adopted"))
        assert core.expect("hello")["runs"] == []
    finally:
        left.kill()
        left.wait()
        shim.close()


# What the core reads -------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["", ":", ":7", ":history", "web:0", "nocolon", "a:b:3", "web:x", "web:٣"]) | st.text(max_size=6)
SAID = st.one_of(
    JSON, st.text(max_size=20), st.just("\ud800"), JSON.map(json.dumps), st.just(NEST), st.just(NESTED_GOALS),
    st.builds(
        lambda goal, state, rest: json.dumps({"goal": goal, "state": state, "since": 1.0, **rest}),
        st.sampled_from(["up", "down", "gone", "x"]), st.sampled_from(["running", "backoff", "stopped", "x"]),
        st.dictionaries(st.sampled_from(["run", "pid", "tries", "deadline", "exit", "spec", "past"]), JSON, max_size=3),
    ),
)  # fmt: skip


@settings(max_examples=3000 if DEEP else 100)
@given(st.dictionaries(KEYS, SAID, max_size=5), st.dictionaries(KEYS, st.integers(0, 9), max_size=2))
def test_L01_any_memos_are_survived_and_what_is_not_understood_is_left_out(
    texts: dict[str, Any], runs: dict[str, int]
) -> None:
    """A core that finds nonsense among its memos begins without it."""
    texts = {name: grown(text) for name, text in texts.items()}
    config = Config((JobSpec("web", ("/bin/true",)),), Settings())
    for key, proc in memos.restore(texts, config, runs).items():
        assert proc.key == key
    memos.past_runs(texts)
    rows = memos.read_rows(texts, 0)
    assert all(isinstance(row, list) and isinstance(row[0], int) for row in rows)
    for text in texts.values():
        memos.read_core(text)


@settings(max_examples=3000 if DEEP else 100)
@given(st.lists(st.one_of(
    st.binary(max_size=30), JSON.map(lambda it: json.dumps(it).encode()),
    st.lists(st.dictionaries(st.text(max_size=5), LEAVES, max_size=3), max_size=3).map(json.dumps).map(str.encode),
    st.just(NEST.encode()),
), max_size=4), st.integers(1, 50), st.booleans())  # fmt: skip
def test_P17_any_stream_of_bytes_is_frames_or_is_refused(bodies: list[bytes], cut: int, framed: bool) -> None:
    """Whatever comes over the wire of shim and core is frames of objects, or the wire is given up; nothing else."""
    bodies = [b"[" * 100_000 if body == NEST.encode() else body for body in bodies]
    data = b"".join((len(body).to_bytes(4, "big") if framed else b"") + body for body in bodies)
    decoder = frames.Decoder()
    try:
        for at in range(0, len(data), cut if len(data) < 10_000 else 4096):
            step = cut if len(data) < 10_000 else 4096
            for frame in decoder.feed(data[at : at + step]):
                assert all(isinstance(each, dict) for each in frame)
    except frames.BadFrame:
        return
