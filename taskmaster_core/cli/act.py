"""Act on jobs and processes: start, stop, restart, kill, hold, release, signal, scale, reset; wait for a state.

It decides what is asked of the core and how its outcomes are told; whether something may be done is the core's affair.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import Out, plural
from taskmaster_core.cli.progress import Progress
from taskmaster_core.errors import ExitStatus, TimedOut, UsageError
from taskmaster_core.logs.sanitize import clean

FEW = 10
"""Up to this many outcomes are told one by one; of more, only those that are not as asked."""


def start(call: Call) -> int:
    """Start what is selected."""
    return act(call, "start")


def stop(call: Call) -> int:
    """Stop what is selected."""
    return act(call, "stop")


def restart(call: Call) -> int:
    """Restart what is selected."""
    return act(call, "restart")


def kill(call: Call) -> int:
    """Kill what is selected."""
    return act(call, "kill")


def wait(call: Call) -> int:
    """Wait until all that is selected is in a state."""
    args = {"for": call.options.state}
    return request(call, "wait", call.selectors, args | limit(call))


def signal(call: Call) -> int:
    """Send a signal."""
    text = call.options.signal
    return request(call, "signal", call.selectors, {"signal": int(text) if text.isdigit() else text})


def reset(call: Call) -> int:
    """Forget the failures counted so far."""
    return request(call, "reset", call.selectors, {})


def hold(call: Call) -> int:
    """Keep what is selected from being started again by itself."""
    return request(call, "hold", call.selectors, {})


def release(call: Call) -> int:
    """End the hold on what is selected."""
    return request(call, "release", call.selectors, {})


def undo(call: Call) -> int:
    """Take the last action back, or say what that would be."""
    plan = call.ask("undo", [], plan=True)
    if call.options.plan:
        if call.options.json:
            call.out.data(plan)
        else:
            call.out.say(clean(plan["text"]))
        return ExitStatus.DONE
    call.out.hint(clean(plan["text"]))
    if plan["op"] == "rollback":
        from taskmaster_core.cli import reload  # noqa: PLC0415  # of the acts only this one writes files

        return reload.go_back(call, plan["args"]["generation"], undo=True)
    with Progress(call, "undo", plan["select"]) as watch:
        done = call.ask("undo", [], watch=watch, **limit(call))
    return tell(call, "undo", done)


def scale(call: Call) -> int:
    """Run another number of processes of a job."""
    targets = [_target(text) for text in call.options.targets]
    waiting = {"wait": not call.options.no_wait} | limit(call)
    return max(request(call, "scale", [job], {"n": number} | waiting) for job, number in targets)


def _target(text: str) -> tuple[str, int]:
    job, _, number = text.rpartition("=")
    if not job or not number.isdigit():
        raise UsageError(f"not a job and a number: {text!r}", "write: taskmaster scale web=4")
    return job, int(number)


def limit(call: Call) -> dict[str, Any]:
    """Return the argument that carries --timeout to the core."""
    return {} if call.timeout is None else {"timeout": call.timeout}


def act(call: Call, op: str) -> int:
    """Ask for one of the four acts, and wait for its effect unless told not to."""
    waiting = not call.options.no_wait
    return request(call, op, call.selectors, {"wait": waiting} | (limit(call) if waiting else {}))


def request(call: Call, op: str, selectors: list[str], args: dict[str, Any]) -> int:
    """Carry out an acting request with its progress, and tell what became of each process."""
    try:
        with Progress(call, op, selectors) as watch:
            done = call.ask(op, selectors, watch=watch, **args)
    except TimedOut as error:
        tell(call, op, getattr(error, "detail", None) or {"outcomes": []})
        raise
    return tell(call, op, done)


def tell(call: Call, op: str, done: dict[str, Any]) -> int:
    """Print the outcomes; return 1 when one of them is not as asked."""
    outcomes = done.get("outcomes", [])
    if call.options.json:
        call.out.data(done)
    elif len(outcomes) <= FEW:
        for outcome in outcomes:
            _tell_one(call.out, outcome)
    else:
        _tell_many(call.out, op, outcomes)
    return ExitStatus.DONE if done.get("ok", True) else ExitStatus.NOT_AS_ASKED


def _tell_one(out: Out, outcome: dict[str, Any]) -> None:
    pid = f" (pid {outcome['pid']})" if outcome.get("pid") else ""
    note = f": {outcome['note']}" if outcome.get("note") else ""
    text = clean(f"{outcome['key']} {outcome['state']}{pid}{note}")
    if not outcome["ok"]:
        out.complain(f"{out.paint('not as asked:', 'bad', out.stderr)} {text}")
    elif not out.quiet:
        out.say(text)


def _tell_many(out: Out, op: str, outcomes: list[dict[str, Any]]) -> None:
    for outcome in outcomes:
        if not outcome["ok"]:
            _tell_one(out, outcome)
    good = Counter(outcome["state"] for outcome in outcomes if outcome["ok"])
    counts = ", ".join(f"{number} {state}" for state, number in good.most_common())
    if not out.quiet:
        out.say(f"{op}: {sum(good.values())} of {plural(len(outcomes), 'process')} as asked ({counts or 'none'})")
