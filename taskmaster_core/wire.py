"""The documents that pass between core and clients: requests, replies, events, views (docs/protocol.md).

Pure data and its JSON; decides nothing, opens nothing. The server and the clients encode and decode with it, the
supervisor fills it. Times are Unix seconds (float). Fields may be added, never renamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct, field

from taskmaster_core.errors import BadRequest, TaskmasterError, WrongVersion, from_code
from taskmaster_core.spec import Exit

VERSION = 1
MAX_FRAME = 1 << 20
"""Bytes of one frame; more is refused before sending by our clients and cuts the peer off at the core."""

MAX_DEPTH = 8
"""Lists and tables within each other in the arguments of a request: no operation has more than two."""

STATUS_SCHEMA = "taskmaster.status/1"


class Request(Struct, forbid_unknown_fields=True, rename={"as_": "as"}):
    """Ask the core for something; `id` makes a repetition harmless."""

    v: int
    id: str
    op: str
    select: list[str] = []
    args: dict[str, Any] = {}
    as_: str | msgspec.UnsetType = msgspec.UNSET
    """A role to be held to, never more than one has."""


class ErrorBody(Struct, omit_defaults=True):
    """Say what went wrong and what to do next."""

    code: str
    message: str
    help: str = ""
    detail: Any = None


class Reply(Struct, omit_defaults=True):
    """Answer one request."""

    v: int
    id: str
    ok: bool
    result: Any = None
    error: ErrorBody | None = None


class Cause(Struct, frozen=True, omit_defaults=True):
    """Name what made an event happen: `kind` is operator, reload, exit, deadline, boot, signal, shim or core."""

    kind: str
    request: str = ""
    """The id of the request, when an operator asked."""
    who: str = ""
    """The operator, as "uid 0 pid 123"."""
    generation: int = 0
    run: int = 0
    text: str = ""


class Event(Struct, frozen=True):
    """Hold one published fact. `seq` has no gaps and goes on over restarts of the core; `boot` names the core."""

    seq: int
    boot: str
    at: float
    type: str
    key: str
    """`job:index`, a job's name, or empty."""
    cause: Cause
    data: dict[str, Any] = {}


class StartError(Struct):
    """Tell why a run could not start."""

    stage: str
    errno: str
    message: str


class ExitView(Struct):
    """Show how the last run ended; everything None: it is not known."""

    code: int | None = None
    signal: str | None = None
    error: StartError | None = None
    core: bool = False
    oom: str = ""
    """Killed by the kernel because memory ran out: "yes", "likely" or empty."""


def exit_view(end: Exit | None) -> ExitView | None:
    """Return an end as clients see it; None for a process that never ran."""
    if end is None:
        return None
    error = StartError(end.stage, end.errno or "", end.message) if end.stage is not None else None
    return ExitView(end.code, end.signal, error, end.core, end.oom)


class ProcessView(Struct):
    """Show one process."""

    key: str
    index: int
    state: str
    goal: str
    pid: int | None
    run: int
    since: float
    started_at: float | None
    tries: int
    next_start_at: float | None
    exit: ExitView | None
    reason: str
    generation: int
    restarts: int = 0
    lingering: int = 0
    held: bool = False
    """An operator holds it: it is not started again by itself."""
    ready: bool | None = None
    cpu: float | None = None
    rss: int | None = None
    away: int | None = None
    """How many of its descendants have left its group while it runs; None where nobody has looked."""
    attached: str = ""
    """Who is attached to its terminal, in words; told by `status` and `show` only."""


class JobView(Struct):
    """Show one job and its processes."""

    name: str
    state: str
    goal: str
    numprocess: int
    restarts: int
    spec: dict[str, Any]
    processes: list[ProcessView]


class CoreView(Struct):
    """Show the core itself. `troubles` are degradations in words: journal, logs, config watching."""

    version: str
    pid: int
    shim_pid: int
    boot: str
    started_at: float
    generation: int
    config: list[str]
    config_problems: list[Any] = []
    instance: str = "default"
    statedir: str = ""
    seq: int = 0
    troubles: list[str] = []
    stopping: bool = False
    batches: int = 0
    """The number of the last batch of states that this includes (`StateBatch.n`); 0: this core does not count."""
    autoreload: str = "apply"
    """What saving the config does: apply, ask or off."""
    pending: int = 0
    """Changes of a valid save that was held back; `reload` applies them."""
    now: float = 0.0
    """The core's wall clock as it answered: ages are counted by it, for the client's may differ. 0: not told."""
    shim_version: str = ""


class Status(Struct):
    """Answer `status`: everything visible at event `core.seq`."""

    core: CoreView
    jobs: list[JobView]
    schema: str = STATUS_SCHEMA


class PlanField(Struct):
    """Show one changed key: its cost, and its values as text (secrets masked)."""

    name: str
    old: str
    new: str
    cost: str


class PlanRow(Struct):
    """Show what a reload does to one job: `+` add, `~` change, `-` remove, `=` same."""

    sign: str
    job: str
    effect: str
    fields: list[PlanField] = []
    excepted: bool = False


class PlanView(Struct):
    """Answer `reload`: the rows, and the generation that was applied (None for a mere plan)."""

    rows: list[PlanRow]
    generation: int | None = None
    changes: int = 0
    warnings: list[Any] = []
    protected: list[str] = []
    """Protected jobs of which it would end something: `reload` wants `confirmed`."""


class Outcome(Struct, omit_defaults=True):
    """Tell what became of one process that a command was about."""

    key: str
    ok: bool
    state: str
    note: str = ""
    """Why not, or that it was so already, or who of it still runs."""
    pid: int | None = None


class Done(Struct):
    """Answer a command: one outcome per process."""

    outcomes: list[Outcome]
    ok: bool = True
    text: str | msgspec.UnsetType = msgspec.UNSET
    """Of an `undo`: what was done, in one sentence."""


_encoder = msgspec.json.Encoder()
_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Decoder(Reply)


def encode(document: Any) -> bytes:
    """Return the JSON of a document."""
    return _encoder.encode(document)


def decode_request(frame: bytes) -> Request:
    """Return the request in a frame; raise BadRequest or WrongVersion for anything else."""
    if len(frame) > MAX_FRAME:
        raise BadRequest(f"a request may have {MAX_FRAME} bytes, this one has {len(frame)}")
    try:
        request = _requests.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _refuse(frame, error) from error
    if request.v != VERSION:
        raise WrongVersion(f"this core speaks version {VERSION}, not {request.v}", "use a client of the core's version")
    if is_deep(request.args):
        raise BadRequest(f"a request is nested at most {MAX_DEPTH} deep", "docs/protocol.md describes requests")
    return request


def is_deep(document: Any) -> bool:
    """Tell whether lists and tables lie in each other deeper than anybody needs: whoever shows it would recurse."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [inner for each in level if isinstance(each, list | dict) for inner in _inside(each)]
    return bool(level)


def _inside(each: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return each.values() if isinstance(each, dict) else each


def _refuse(frame: bytes, error: Exception) -> TaskmasterError:
    """Return the error for a frame that is no request; a foreign version is told as such, whatever else it holds."""
    try:
        loose = msgspec.json.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        loose = None
    if isinstance(loose, dict) and "v" in loose and loose["v"] != VERSION and not is_deep(loose["v"]):
        return WrongVersion(f"this core speaks version {VERSION}, not {loose['v']!r:.40}")
    return BadRequest(f"not a request: {error}", "docs/protocol.md describes requests")


def request_id_in(frame: bytes) -> str:
    """Return the id in a frame that may be no request, for an answer the sender can place; "" if there is none."""
    try:
        loose = msgspec.json.decode(frame[:MAX_FRAME])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""
    found = loose.get("id", "") if isinstance(loose, dict) else ""
    return found if isinstance(found, str) else ""


def reply_ok(request_id: str, result: Any) -> bytes:
    """Return the frame of a reply that brings a result."""
    return encode(Reply(VERSION, request_id, True, result))


def reply_error(request_id: str, error: TaskmasterError, detail: Any = None) -> bytes:
    """Return the frame of a reply that brings an error."""
    return encode(Reply(VERSION, request_id, False, error=ErrorBody(error.code, error.message, error.help, detail)))


def decode_reply(frame: bytes) -> Reply:
    """Return the reply in a frame; raise BadRequest for anything else."""
    try:
        return _replies.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadRequest(f"the core's answer was not understood: {error}") from error


def result_of(reply: Reply) -> Any:
    """Return the reply's result, or raise the error it brings; the error's `detail` becomes an attribute."""
    if reply.ok:
        return reply.result
    body = reply.error or ErrorBody("error", "the core said no without a reason")
    error = from_code(body.code, body.message, body.help)
    error.detail = body.detail  # type: ignore[attr-defined]
    raise error


class Beat(Struct):
    """Say, each second while anybody subscribes, how far the events are."""

    boot: str
    seq: int
    batches: int = 0
    """The number of the newest batch of states."""
    at: float = 0.0
    """The core's wall clock: what ages are counted by, for the client's may differ. 0: this core does not tell."""


class Metrics(Struct):
    """Bring a sample of every process that exists: percent of one processor, and bytes resident, of its whole tree.

    `interval` is the seconds since the sample before, the time that cpu is measured over; None in the first one.
    """

    boot: str
    at: float
    interval: float | None
    processes: dict[str, tuple[float, int]]


class StateBatch(Struct):
    """Bring the processes that changed within a tenth of a second, and the seq this reaches."""

    boot: str
    seq: int
    processes: list[ProcessView]
    gone: list[str] = field(default_factory=list)
    n: int = 0
    """Batches are numbered without gaps: who misses one asks for a snapshot. 0: this core does not count."""
