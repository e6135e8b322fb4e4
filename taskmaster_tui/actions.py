"""The action table: everything a person can do in the TUI, as data.

It decides ids, words, keys and the command line that does the same; it does nothing itself. Bindings, key bar, keys
sheet, palette, presets and docs are all made from it, so that none of them can be out of date.
"""

from __future__ import annotations

from typing import NamedTuple


class Action(NamedTuple):
    """Declare one thing a person can do."""

    id: str
    """`scope.name`; the key of `[keys]` in ui.toml."""
    label: str
    """Two words at most, for the key bar."""
    help: str
    """One line, for the keys sheet and the palette."""
    keys: str
    """Default keys, comma separated, as Textual spells them. Never empty: what has no key is not discoverable."""
    cli: str = ""
    """The command that does the same: `{sel}` is the selection. Empty only for what is about the screen itself."""
    needs: str = ""
    """Words of what must be given, fields of `Context`."""
    bar: int = 0
    """Rank in the key bar, 1 first; 0: not shown there."""
    group: str = "Look"
    """Its heading in the keys sheet."""


_ACT = "Act on > or marked"
_MOVE = "Move"
_GO = "Go to"
_ANY = "Anywhere"

GLOBAL = (
    Action("go.jobs", "Jobs", "the jobs and what they do", "1", "taskmaster status", group=_GO),
    Action("go.logs", "Logs", "what all of them wrote, merged by time", "2", "taskmaster logs -f", group=_GO),
    Action("go.events", "Events", "what happened, and because of what", "3", "taskmaster events", group=_GO),
    Action("go.metrics", "Metrics", "CPU and memory over time", "4", "taskmaster status --procs", group=_GO),
    Action("go.config", "Config", "file, problems, generations, reload plan", "5", "taskmaster config show", group=_GO),
    Action("go.last", "Last view", "back to the view before", "grave_accent", group=_GO),
    Action("go.jump", "Jump", "letters appear on rows and panes: type one to go there", "semicolon", group=_GO),
    Action("app.palette", "Commands", "any command by its name", "colon,ctrl+p", bar=80, group=_GO),
    Action("app.keys", "All keys", "every key, searchable; Enter runs, F2 changes", "question_mark,f1", bar=81, group=_GO),
    Action("app.settings", "Settings", "theme, glyphs, keys, what is shown", "comma", group=_GO),
    Action("app.connect", "Connect", "another instance on this machine", "c", "taskmaster --instance NAME tui", group=_GO),
    Action("app.undo", "Undo", "take the last action back", "u", "taskmaster undo", "live write", group=_ANY),
    Action(
        "config.reload", "Reload", "plan a reload of the config, then apply it", "ctrl+r", "taskmaster reload",
        "live", group=_ANY,
    ),
    Action("core.retry", "Try again", "try to connect again now", "R", "taskmaster status", "lost", 1, _ANY),
    Action("core.start", "Start core", "start the core with its config and all jobs that start with it", "S", "taskmaster up -d", "nocore write", 2, _ANY),
    Action(
        "core.upgrade", "Upgrade", "replace core and shim by the release installed now; jobs keep running", "U",
        "taskmaster upgrade", "live write", group=_ANY,
    ),
    Action("app.next_pane", "Next pane", "put the focus on the next pane", "tab", group=_MOVE),
    Action("app.previous_pane", "Previous pane", "put the focus on the pane before", "shift+tab", group=_MOVE),
    Action("app.zoom", "Zoom", "this pane alone, and back", "z", group=_ANY),
    Action("app.freeze", "Freeze", "stop the picture, not the jobs; again: go on", "F", group=_ANY),
    Action("app.back", "Back", "one step back: overlay, search, filter, marks, view", "escape", group=_ANY),
    Action("app.quit", "Leave", "leave; the jobs keep running", "q", bar=99, group=_ANY),
    Action(
        "app.quit_menu", "Leave…", "leave, stop all jobs, or shut the core down", "Q", "taskmaster down", group=_ANY
    ),
    Action("app.interrupt", "Copy/leave", "copy what is selected; twice: leave", "ctrl+c", group=_ANY),
    Action("app.report", "Report", "save the picture and facts for a bug report", "f12,ctrl+x", group=_ANY),
)  # fmt: skip

LIST = (
    Action("list.down", "Down", "one row down", "j,down", group=_MOVE),
    Action("list.up", "Up", "one row up", "k,up", group=_MOVE),
    Action("list.first", "First", "first row", "g,home", group=_MOVE),
    Action("list.last", "Last", "last row", "G,end", group=_MOVE),
    Action("list.half_down", "Half down", "half a page down", "ctrl+d", group=_MOVE),
    Action("list.half_up", "Half up", "half a page up", "ctrl+u", group=_MOVE),
    Action("list.page_down", "Page down", "a page down", "ctrl+f,pagedown", group=_MOVE),
    Action("list.page_up", "Page up", "a page up", "pageup", group=_MOVE),
)

ACT = (
    Action("job.start", "Start", "start", "s", "taskmaster start {sel}", "rows live write", 1, _ACT),
    Action("job.stop", "Stop", "stop, gently: the whole tree", "x", "taskmaster stop {sel}", "rows live write", 2, _ACT),
    Action("job.restart", "Restart", "stop if it runs, then start", "r", "taskmaster restart {sel}", "rows live write", 3, _ACT),
    Action("job.kill", "Kill", "kill the whole tree now (SIGKILL)", "X", "taskmaster kill {sel}", "rows live write", group=_ACT),
    Action("job.signal", "Signal…", "send a signal from a list", "K", "taskmaster signal SIG {sel}", "rows live write", group=_ACT),
    Action("job.scale_up", "+1", "one process more", "plus,equals_sign", "taskmaster scale JOB=N", "rows live write", group=_ACT),
    Action("job.scale_down", "-1", "one process less", "minus", "taskmaster scale JOB=N", "rows live write", group=_ACT),
    Action("job.scale", "Scale…", "run another number of processes", "ctrl+n", "taskmaster scale JOB=N", "rows live write", group=_ACT),
    Action(
        "job.hold", "Hold", "no automatic restart until released; again: release", "p", "taskmaster hold {sel}",
        "rows live write", group=_ACT,
    ),
    Action("job.release", "Release", "restart automatically again", "P", "taskmaster release {sel}", "rows live write", group=_ACT),
    Action("job.reset", "Reset", "forget the failures counted so far", "ctrl+e", "taskmaster reset {sel}", "rows live write", group=_ACT),
    Action(
        "job.attach", "Attach", "give it this terminal; ctrl+] comes back", "a", "taskmaster attach {sel}",
        "rows live write terminal", 6, _ACT,
    ),
    Action("job.edit", "Edit", "edit this job in your editor, at its line", "e", "taskmaster edit {job}", "rows write", 8, _ACT),
    Action("job.why", "Why?", "why it is in this state, and what comes next", "d", "taskmaster why {sel}", "rows live", 7, "Look"),
    Action("job.copy", "Copy", "copy this line", "y", needs="rows", group="Look"),
    Action("job.copy_command", "Copy CLI", "copy the command line for this selection", "Y", needs="rows", group="Look"),
)  # fmt: skip

JOBS = (
    Action("jobs.logs", "Logs", "its output, full screen", "enter", "taskmaster logs -f {sel}", "rows", 5),
    Action("jobs.fold", "Fold", "fold, or go to the job of this process", "h,left", group=_MOVE),
    Action("jobs.unfold", "Unfold", "unfold, or go to the first process", "l,right", group=_MOVE),
    Action("jobs.filter", "Filter", "show what matches: name, state:fatal, @tag, cpu>50, !not", "slash", "taskmaster status {sel}", bar=9),
    Action("jobs.problems", "Problems", "only what failed, is trying again or keeps restarting", "exclamation_mark", "taskmaster status --failed", bar=10),
    Action("jobs.mark", "Mark", "mark this row and go on", "space", bar=4, group=_ACT),
    Action("jobs.mark_range", "Mark range", "mark from the last mark to here", "V", group=_ACT),
    Action("jobs.mark_all", "Mark all", "mark all that is shown, or nothing", "asterisk", "taskmaster status all", group=_ACT),
    Action("jobs.flat", "Tree/flat", "processes below their jobs, or all in one list", "t", "taskmaster status --procs"),
    Action("jobs.sort_next", "Sort →", "sort by the next column", "greater_than_sign"),
    Action("jobs.sort_previous", "Sort ←", "sort by the column before", "less_than_sign"),
    Action("jobs.sort_invert", "Invert", "turn the order around", "I"),
    Action("jobs.details", "Details", "everything about it", "i", "taskmaster show {job}", "rows"),
    Action("jobs.runs", "Runs", "earlier runs of this process", "L", "taskmaster events {sel}", "rows"),
    Action("jobs.next_tab", "Next tab", "next detail tab", "right_square_bracket", bar=11),
    Action("jobs.previous_tab", "Previous tab", "detail tab before", "left_square_bracket"),
    Action("jobs.wider", "Wider list", "give the list more room", "ctrl+right"),
    Action("jobs.narrower", "Narrower list", "give the details more room", "ctrl+left"),
    Action("jobs.add", "New job", "add a job: a form, checked, saved to the file", "A,n", "taskmaster add NAME -- CMD", "write", 12, _ACT),
    Action("jobs.edit_file", "Edit file", "edit the whole config file", "E", "taskmaster edit", "write", group=_ACT),
    Action("jobs.demo", "Demo", "load the demo: a dozen harmless jobs", "D", "taskmaster -f config/demo.toml --instance demo up", "empty", 13, _GO),
)  # fmt: skip

LOG = (
    Action("log.down", "Down", "one line down", "j,down", group=_MOVE),
    Action("log.up", "Up", "one line up; pauses", "k,up", group=_MOVE),
    Action("log.page_down", "Page down", "a page down", "ctrl+f,pagedown", group=_MOVE),
    Action("log.page_up", "Page up", "a page up", "pageup", group=_MOVE),
    Action("log.half_down", "Half down", "half a page down", "ctrl+d", group=_MOVE),
    Action("log.half_up", "Half up", "half a page up", "ctrl+u", group=_MOVE),
    Action("log.first", "Oldest", "the oldest line there is", "g,home", "taskmaster logs {sel}", group=_MOVE),
    Action("log.last", "Newest", "the newest line, and follow", "G,end", "taskmaster logs -f {sel}", group=_MOVE),
    Action("log.left", "Left", "scroll sideways", "h,left", group=_MOVE),
    Action("log.right", "Right", "scroll sideways", "l,right", group=_MOVE),
    Action("log.follow", "Follow", "follow, or pause", "f", "taskmaster logs -f {sel}", bar=1),
    Action("log.search", "Search", "search: every hit is counted", "slash", "taskmaster logs -g RE {sel}", bar=2),
    Action("log.next", "Next hit", "next hit", "n", needs="hits", bar=3),
    Action("log.previous", "Previous hit", "hit before", "N", needs="hits"),
    Action("log.keep", "Keep only", "only lines that match (! before it: that do not)", "ampersand", "taskmaster logs -g RE {sel}", bar=4),
    Action("log.wrap", "Wrap", "wrap long lines, or cut them", "w", bar=5),
    Action("log.time", "Time", "time column: clock, date, relative, delta, off", "T", "taskmaster logs -t {sel}", bar=6),
    Action("log.streams", "Streams", "stdout and stderr, or one of them", "v", "taskmaster logs --stderr {sel}"),
    Action("log.pick", "Pick", "which jobs are shown", "p", "taskmaster logs {sel}", bar=7),
    Action("log.runs", "Runs", "earlier runs: go to where one began or ended", "L", "taskmaster events {sel}"),
    Action("log.recent", "5 min", "begin five minutes ago", "0", "taskmaster logs --since 5m {sel}"),
    Action("log.next_error", "Next error", "next line that looks like an error, or the next start and end", "right_curly_bracket"),
    Action("log.previous_error", "Previous error", "the same, backwards", "left_curly_bracket"),
    Action("log.mark", "Mark", "put a mark line here", "m"),
    Action("log.jump_mark", "Marks", "go to the next mark", "apostrophe"),
    Action("log.select", "Select", "select lines; y copies them", "V"),
    Action("log.copy", "Copy", "copy the line, or what is selected", "y", bar=8),
    Action("log.copy_command", "Copy CLI", "copy the command line that shows this", "Y"),
    Action("log.open", "Open", "open in $PAGER at this line", "o", "taskmaster logs {sel}", bar=9),
    Action("log.save", "Save", "save the lines that are shown to a file", "ctrl+s", "taskmaster logs {sel} > FILE", bar=10),
    Action("log.goto", "Go to", "go to the process that wrote this line", "enter", "taskmaster show {job}"),
)  # fmt: skip

EVENTS = (
    Action("events.goto", "Go there", "to the process, and its output at that moment", "enter", "taskmaster logs --since TIME {sel}", "", 1, _GO),
    Action("events.log", "Its log", "its output at that moment, full screen", "o", "taskmaster logs --since TIME {sel}", "", 2, _GO),
    Action("events.filter", "Filter", "show what matches", "slash", "taskmaster events {sel}", bar=3),
    Action("events.follow", "Follow", "stay at the newest, or stay here", "f", "taskmaster events -f", bar=4),
    Action("events.problems", "Problems", "only what went wrong", "exclamation_mark", "taskmaster events", bar=5),
    Action("events.older", "Earlier", "scrub: the same process's event before", "left_square_bracket", bar=6),
    Action("events.newer", "Later", "scrub: the same process's next event", "right_square_bracket"),
    Action("events.details", "Details", "everything the event says", "i", "taskmaster events --json {sel}", "", 7),
)  # fmt: skip

METRICS = (
    Action("metrics.goto", "Go there", "to this job in the list", "enter", "taskmaster status {sel}", "rows", 1, _GO),
    Action("metrics.kind", "CPU/memory", "charts of CPU, or of memory", "m", "taskmaster status --procs", bar=2),
    Action("metrics.sort", "Sort", "by share, or in the order of the config", "greater_than_sign", bar=3),
    Action("metrics.level", "Jobs/procs", "one chart for each job, or for each process", "t", "taskmaster status --procs", bar=4),
)  # fmt: skip

CONFIG = (
    Action("config.apply", "Apply", "apply the plan", "a,enter", "taskmaster reload", "live write plan", 1, _ACT),
    Action("config.leave_out", "Leave out", "leave this job as it is, or take it in again", "space", "taskmaster reload --except {job}", "rows plan", 2, _ACT),
    Action("config.diff", "Diff", "all changed lines of the files", "d", "taskmaster reload --plan", bar=3),
    Action("config.edit", "Edit", "edit the file in your editor, at this job or problem", "e", "taskmaster edit {job}", "write", 4, _ACT),
    Action("config.rollback", "Roll back", "write back and apply the generation under the cursor", "B", "taskmaster rollback N", "live write generation", 5, _ACT),
    Action("config.on_save", "On save", "what saving the file does: apply, ask, off", "o", "taskmaster config set autoreload=ask", "live write", 6, _ACT),
    Action("config.plan", "Plan", "make the plan again", "p", "taskmaster reload --plan", "live", 7),
    Action("config.next_part", "Next part", "plan, problems, generations, file", "right_square_bracket", bar=8),
    Action("config.previous_part", "Part before", "the part before", "left_square_bracket"),
)  # fmt: skip

SCOPES: dict[str, tuple[Action, ...]] = {
    "global": GLOBAL, "list": LIST, "act": ACT, "jobs": JOBS, "log": LOG, "events": EVENTS, "metrics": METRICS,
    "config": CONFIG,
}  # fmt: skip

VIEWS: dict[str, tuple[str, ...]] = {
    "jobs": ("jobs", "act", "list"),
    "logs": ("log",),
    "events": ("events", "act", "list"),
    "metrics": ("metrics", "act", "list"),
    "config": ("config", "list"),
}
"""Which scopes a view binds; the pane with the output in Jobs binds `log` by itself."""

BY_ID = {action.id: action for actions in SCOPES.values() for action in actions}


class Context(NamedTuple):
    """Tell what is given at the moment, so that what cannot be done is not offered."""

    rows: bool = False
    """Something is under the cursor."""
    live: bool = False
    """A core answers."""
    write: bool = True
    """False for `--read-only`."""
    lost: bool = False
    """No core answers."""
    nocore: bool = False
    """No core runs here, so one may be started."""
    empty: bool = False
    """There are no jobs."""
    hits: bool = False
    """Something is searched for."""
    plan: bool = False
    """There is a plan that would change something, or it is not known yet that there is none."""
    generation: bool = False
    """A generation is under the cursor."""
    terminal: bool = False
    """What is selected has a terminal."""


_HIDES = frozenset({"write", "lost", "nocore", "empty"})
"""What is not needed in most sessions is not even shown there; the rest is shown dimmed when it is not given."""


_RARE = frozenset({"terminal"})
"""What few jobs have takes no room in the key bar where it is not given."""


def barred(action: Action, context: Context) -> bool:
    """Tell whether the key bar leaves an action out at the moment."""
    return any(need in _RARE and not getattr(context, need) for need in action.needs.split())


def available(action: Action, context: Context) -> bool | None:
    """Return True (can be done), None (shown dimmed: not at the moment) or False (hidden)."""
    missing = [need for need in action.needs.split() if not getattr(context, need)]
    if _HIDES.intersection(missing):
        return False
    return None if missing else True


def command_line(action: Action, selection: str, job: str) -> str:
    """Return the command that does what the action does to a selection; "" for what is about the screen only."""
    return action.cli.replace("{sel}", selection).replace("{job}", job).rstrip()
