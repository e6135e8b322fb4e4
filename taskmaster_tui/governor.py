"""Decides how many live frames a link can carry: one in flight, the next when the terminal has answered for the last.

It does not paint or write: the app asks it for the question to put behind a frame and tells it what came back.
`live.Live` asks it when to paint, `_textual_compat` carries its questions, the status line shows `slow`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FPS = 15.0  # more is not read, and 34 lines of log at 15 fps are 170 kB/s already
BLIND_FPS = 5.0  # for terminals that never answer: what 1 Mbit/s carries of full frames
PATIENCE = 3.0  # seconds; the longest a live frame may be under way before the next one is tried
QUEUED = 6  # writes; Textual's writer has 30 places and a frame takes up to three: leave them to the keys
FIRST = 1.0  # seconds; the same until it is known that the terminal answers at all
TRIES = 2  # questions without any answer ever, then the terminal is held for mute
SLOW = 0.22  # seconds per frame: under 5 fps a person sees it stutter, and wants to know that it is the link
QUICK = 0.17  # seconds per frame: and is told so until it is clearly over
THIN = 0.5  # seconds per frame: under 2 fps, leave away what is only nice


class Governor:
    """One live frame in flight. All times are seconds of `clock`."""

    def __init__(self, fps: float = FPS, clock: Callable[[], float] = time.monotonic) -> None:
        self.cap = min(max(fps, 0.2), 60.0)
        self.on_free: Callable[[], None] = lambda: None
        self.queued: Callable[[], int] = lambda: 0  # writes that wait for the terminal
        self.asking = False  # whether there is a terminal that may be asked
        self.quiet = False  # whether it is about to be left: no more questions
        self.frames = 0  # live frames so far
        self.took = 0.0  # from a frame to its answer, smoothed
        self._clock = clock
        self._painted = float("-inf")
        self._owed = False  # a live frame was painted and its question is not sent yet
        self._number = 0
        self._asked: float | None = None  # when the frame in flight was sent
        self._unanswered = 0
        self._answers = 0
        self._slow = False

    @property
    def mute(self) -> bool:
        """Whether the terminal never answered."""
        return self.asking and not self._answers and self._unanswered >= TRIES

    @property
    def in_flight(self) -> bool:
        """Whether an answer is under way."""
        return self._asked is not None and not self.mute

    @property
    def period(self) -> float:
        """The shortest time between two live frames."""
        fps = min(self.cap, BLIND_FPS) if self.mute else self.cap
        # a slow link rests a third of the time, so that a key finds it free
        return max(1 / fps, 1.5 * self.took if self._slow else 0.0)

    @property
    def fps(self) -> float:
        """Live frames a second that the link carries now, at most the cap."""
        return 1 / max(self.period, self._stalled)

    @property
    def _stalled(self) -> float:
        return self._clock() - self._asked if self._asked is not None and not self.mute else 0.0

    @property
    def slow(self) -> str:
        """What the status line says of the link: "slow link · 3 fps", "" if there is nothing to say."""
        if not self._slow and self._stalled < 1:
            return ""
        fps = self.fps
        return f"slow link · {fps:.0f} fps" if fps >= 1 else "slow link · <1 fps"

    @property
    def thin(self) -> bool:
        """Whether to leave away what is only nice (sparklines): under 2 fps."""
        return self._slow and self.took >= THIN

    def may_paint(self) -> bool:
        """Say whether a live frame may be painted now."""
        return self.delay() <= 0

    def delay(self) -> float:
        """Return the seconds until it is worth asking again, 0 for now; an answer in between calls `on_free`."""
        now = self._clock()
        wait = self._painted + self.period - now
        if self._asked is not None and not self.mute:
            wait = max(wait, self._asked + (PATIENCE if self._answers else FIRST) - now)
            if wait <= 0:
                self._give_up()
        if wait <= 0 and self.queued() > QUEUED:
            return 1 / self.cap  # the writer itself does not get rid of them: look again in a frame's time
        return max(wait, 0.0)

    def painted(self) -> None:
        """Take note of a live frame; the next display carries the question."""
        self.frames += 1
        self._painted = self._clock()
        # a mute one is asked once in a while: perhaps it is only far away
        self._owed = self.asking and not (self.mute and self._asked and self._painted - self._asked < PATIENCE)

    def question(self) -> int | None:
        """Return the number to ask with, behind the frame that is being displayed; None if there is nothing to ask."""
        if not self._owed or self.quiet or self.in_flight:
            return None
        self._owed = False
        self._number = (self._number + 1) % 10
        self._asked = self._clock()
        return self._number

    def answered(self, number: int) -> None:
        """Take the terminal's answer; one for a frame that was given up frees nothing."""
        now = self._clock()
        if not self._answers and self._asked is not None and number != self._number:
            self._asked = now  # it is not mute but far away: wait for the last question's answer as for any
        self._answers += 1
        self._unanswered = 0
        if self._asked is None or number != self._number:
            return
        self._took(now - self._asked)
        self._asked = None
        self.on_free()

    def forget(self) -> None:
        """Drop the frame in flight: the terminal was handed to somebody else, its answer went there."""
        self._asked = None
        self._owed = self.quiet = False

    def _give_up(self) -> None:
        self._asked = None
        self._unanswered += 1
        if self._answers:
            self._took(PATIENCE)

    def _took(self, seconds: float) -> None:
        # quick to slow down, slower to speed up: a link that just stalled is likely to do so again
        weight = 0.6 if seconds > self.took else 0.3
        self.took += weight * (seconds - self.took)
        self._slow = self.took > (QUICK if self._slow else SLOW)
