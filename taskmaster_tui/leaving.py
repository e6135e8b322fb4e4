"""Leave when told to from outside: by a signal, or because the terminal is gone.

It decides what counts as being told and the exit status that says so. A client nobody sees must not stay (TUI.md §1.5),
and a terminal that does must be as it was. The app calls it once when it begins.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys

from taskmaster_tui._textual_compat import Governed

_LOOK_EVERY = 1.0
"""Seconds between two looks at the terminal; a hang-up that comes without a signal (nohup, a dead ssh) is seen so."""

_SIGNALS = (signal.SIGHUP, signal.SIGTERM)


def heed(app: Governed) -> None:
    """Heed signals and the end of the terminal from now on; needs the running loop."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, leave, app, number)
    hangup = select.poll()
    hangup.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)  # nothing but POLLHUP and POLLERR
    app.set_interval(_LOOK_EVERY, lambda: leave(app, signal.SIGHUP) if hangup.poll(0) else None)


def leave(app: Governed, number: int) -> None:
    """End with the status that a shell gives for this signal."""
    if number == signal.SIGHUP:
        app.hung_up()
    app.exit(128 + number, return_code=128 + number)


def last_words(text: str) -> None:
    """Say something on the terminal as it was before, if it is still there."""
    try:
        print(text, flush=True)  # noqa: T201  # the last word
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still in the buffer has nowhere to go
