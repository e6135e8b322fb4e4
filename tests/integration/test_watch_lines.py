"""The line mode on a real core: what happens is told in sentences, also when the core is replaced on the way."""

from __future__ import annotations

import os
import select
import time
from subprocess import Popen

import pytest

from tests.harness import end_child
from tests.integration.conftest import Start
from tests.integration.shared import job, words

LIVES = words("sleep", "1000")


def until(process: Popen[str], text: str, wanted: str, seconds: float = 15.0) -> str:
    """Read on until something was said."""
    deadline = time.monotonic() + seconds
    assert process.stdout is not None
    while wanted not in text:
        left = deadline - time.monotonic()
        assert left > 0, f"{wanted!r} did not come; there is {text!r}"
        if select.select([process.stdout], [], [], left)[0]:
            more = os.read(process.stdout.fileno(), 65536).decode()
            assert more, f"it ended; there is {text!r}"
            text += more
    return text


@pytest.mark.parametrize("line", [("status", "--watch"), ("tui", "--plain")])
def test_changes_are_told_in_sentences_over_the_death_of_the_core(daemon: Start, line: tuple[str, ...]) -> None:
    it = daemon(job("web", LIVES, numprocess="2"))
    it.wait_state("web:1", "running")
    process = it.popen(*line)
    try:
        text = until(process, "", "Changes follow")
        it.request("stop", "web:0")
        text = until(process, text, "web:0 is stopped: stopped by uid")
        it.kill_core()
        it.wait(it.ping)
        it.request("start", "web:0")
        text = until(process, text, f"web:0 is running with pid {it.proc('web:0').pid}")
        it.request("hold", "web:1")
        text = until(process, text, "web:1 is held: running")
        assert "\x1b" not in text
    finally:
        end_child(process)
