"""The command table: every command, its arguments and its handler, as data.

It decides what exists and how it is called, and does nothing. Parser, help, docs/cli.md, completions and the shell are
all made from it; a handler is named by module and function, so that a command imports only what it needs.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Arg(NamedTuple):
    """Declare an argument: its names (no dash: a positional one), its help, and what argparse wants to know besides."""

    names: tuple[str, ...]
    help: str
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed; a NamedTuple has no factories
    completes: str = ""
    """What the shell offers for its value: "job" or "file"."""


class Command(NamedTuple):
    """Declare a command; `rest` means everything after `--` is a command line of its own."""

    name: str
    family: str
    summary: str
    handler: str
    """`module:function` below taskmaster_core.cli."""
    args: tuple[Arg, ...] = ()
    text: str = ""
    """What a person should know beside the arguments."""
    examples: tuple[str, ...] = ()
    rest: str = ""
    follows: bool = False
    """`-f` means follow here, and config has its long name only."""


FAMILIES = {
    "life": "Run it",
    "look": "Look",
    "act": "Act",
    "config": "Configure",
    "more": "More",
}

CONFIG = Arg(
    ("-f", "--config"), "config file; may be given several times", {"action": "append", "metavar": "FILE"}, "file"
)

GLOBALS = (
    CONFIG,
    Arg(("--instance",), "which instance (default: default)", {"metavar": "NAME"}),
    Arg(("--socket",), "the core's command socket, or its directory", {"metavar": "PATH"}, "file"),
    Arg(("--host",), "a core on another machine, as `taskmaster host add` has named it", {"metavar": "NAME"}),
    Arg(("--json",), "print the core's answer as JSON", {"action": "store_true"}),
    Arg(("-q", "--quiet"), "no hints and no progress", {"action": "store_true"}),
    Arg(("-v", "--verbose"), "say which core is asked and how long it took", {"action": "store_true"}),
    Arg(("-y", "--yes"), "do not ask, do it", {"action": "store_true"}),
    Arg(("--timeout",), "give up after this long (seconds, or 500ms, 1m30s)", {"metavar": "TIME"}),
    Arg(
        ("--color",),
        "auto, always or never (NO_COLOR is honoured)",
        {"choices": ("auto", "always", "never"), "metavar": "WHEN"},
    ),
)

_SOME = Arg(
    ("selectors",), "jobs or processes: web, web:3, web:*, 'w*', @tag, all", {"nargs": "*", "metavar": "SEL"}, "job"
)
_NEED = _SOME._replace(options={"nargs": "+", "metavar": "SEL"})
_PROCESS = Arg(("process",), "which process: web, web:3", {"metavar": "PROC"}, "job")
_NO_WAIT = Arg(("--no-wait",), "do not wait for the effect", {"action": "store_true"})
_SINCE = ("--since",)
_WHEN = {"metavar": "TIME"}

COMMANDS: tuple[Command, ...] = (
    Command(
        "up",
        "life",
        "start core and jobs, then show them",
        "life:up",
        (
            _SOME,
            Arg(("-d", "--detach"), "leave everything running in the background and return", {"action": "store_true"}),
            Arg(("--no-tui",), "show prefixed output lines, also on a terminal", {"action": "store_true"}),
        ),
        "Starts the core if none answers, then the selected jobs (none named: all with autostart). On a terminal it "
        "ends in a client; leaving that leaves the jobs running. Without a terminal it follows the output until "
        "Ctrl-C, which stops everything if this `up` started the core. A core that runs with other config files is "
        "not touched (status 7).",
        ("taskmaster up", "taskmaster up -d", "taskmaster -f dev.toml --instance dev up web @db"),
    ),
    Command(
        "down",
        "life",
        "stop all jobs in order, then the core",
        "life:down",
        (Arg(("--keep-core",), "stop the jobs, leave the core", {"action": "store_true"}),),
    ),
    Command(
        "core",
        "life",
        "run the server in the foreground (systemd, containers, scripts)",
        "core:core",
        (Arg(("--no-cgroup",), "do not use cgroups, even where they could be", {"action": "store_true"}),),
        "Becomes the shim, whose pid is the one systemd or the container sees. TERM and INT stop everything in order, "
        "HUP reloads, USR2 reopens the logs.",
    ),
    Command(
        "tui",
        "life",
        "the full screen: everything at a glance, steered by keys and mouse",
        "clients:tui",
        (
            Arg(("--plain",), "lines instead of a screen: status --watch", {"action": "store_true"}),
            Arg(("--theme",), "dark, light, colourblind, mono, terminal, terminal-light", {"metavar": "NAME"}),
            Arg(("--glyphs",), "unicode or ascii", {"choices": ("unicode", "ascii"), "metavar": "unicode|ascii"}),
            Arg(("--read-only",), "look, and offer nothing that changes anything", {"action": "store_true"}),
            Arg(("--fps",), "live frames a second, at most", {"metavar": "N"}),
            Arg(("--no-mouse",), "leave the mouse to the terminal", {"action": "store_true"}),
        ),
        "What `taskmaster` without a command and `up` end in on a terminal. Leaving it leaves the jobs running. With "
        "TERM=dumb, TASKMASTER_A11Y=1 or without a terminal it prints lines, as with --plain.",
        ("taskmaster tui", "taskmaster tui --theme light --read-only"),
    ),
    Command(
        "shell",
        "life",
        "a prompt with history and completion; reads scripts from stdin",
        "shell:shell",
        (Arg(("-e", "--exit-on-error"), "stop at the first command that fails", {"action": "store_true"}),),
        "Every command without `taskmaster` before it; `help`, `exit`, `quit`; `#` begins a comment.",
        ("taskmaster shell", "printf 'status\\nrestart web\\n' | taskmaster shell -e"),
    ),
    Command(
        "status",
        "look",
        "what runs and what does not",
        "watch:status",
        (
            _SOME,
            Arg(("--procs",), "one line per process", {"action": "store_true"}),
            Arg(("--failed",), "only what is fatal, in backoff or unhealthy", {"action": "store_true"}),
            Arg(("--watch",), "go on: print each change as a line", {"action": "store_true"}),
        ),
        "Exit status 1 when something is fatal, in backoff or unhealthy; what was stopped by hand is no failure.",
    ),
    Command("show", "look", "everything about a job", "show:show", (_NEED,)),
    Command("why", "look", "why a process is in the state it is in", "show:why", (_NEED,)),
    Command(
        "logs",
        "look",
        "what the processes wrote, merged by time",
        "logs:logs",
        (
            _SOME,
            Arg(("-f", "--follow"), "go on as more is written", {"action": "store_true"}),
            Arg(
                ("-n", "--lines"),
                "how many lines (default: 100; 0: none before following)",
                {"type": "count", "metavar": "N"},
            ),
            Arg(_SINCE, "from this time on: 10m, 14:30, 2026-01-31T14:30", _WHEN),
            Arg(("--until",), "up to this time", _WHEN),
            Arg(("-g", "--grep"), "only lines that match this regular expression", {"metavar": "RE"}),
            Arg(("--stdout",), "only standard output", {"action": "store_true"}),
            Arg(("--stderr",), "only standard error", {"action": "store_true"}),
            Arg(("-t", "--timestamps"), "show when each line came", {"action": "store_true"}),
            Arg(("--raw",), "the bytes as they were written", {"action": "store_true"}),
        ),
        "Lines of several processes carry their name. Control characters are taken out unless --raw is given.",
        (
            "taskmaster logs web -f",
            "taskmaster logs --since 10m -g 'error|panic'",
            "taskmaster logs web:0 --raw > web.out",
        ),
        follows=True,
    ),
    Command(
        "events",
        "look",
        "what happened, and because of what",
        "events:events",
        (
            _SOME,
            Arg(("-f", "--follow"), "go on as more happens", {"action": "store_true"}),
            Arg(("-n", "--lines"), "how many events (default: 100)", {"type": "count", "metavar": "N"}),
            Arg(_SINCE, "after event N (`#4711` or `4711`), or from a time on: 10m, 14:30", {"metavar": "N|TIME"}),
        ),
        "With --json one event a line.",
        ("taskmaster events --since 1h", "taskmaster events -f --json web"),
        follows=True,
    ),
    Command(
        "wait",
        "look",
        "wait until something is in a state",
        "act:wait",
        (
            _NEED,
            Arg(
                ("--for",),
                "up, down, or a state such as running, exited, stopped",
                {"dest": "state", "required": True, "metavar": "STATE"},
            ),
        ),
        examples=("taskmaster wait migrate --for exited --timeout 5m",),
    ),
    Command("start", "act", "start", "act:start", (_NEED, _NO_WAIT)),
    Command("stop", "act", "stop, gently: the whole tree", "act:stop", (_NEED, _NO_WAIT)),
    Command("restart", "act", "stop if it runs, then start", "act:restart", (_NEED, _NO_WAIT)),
    Command("kill", "act", "kill the whole tree at once", "act:kill", (_NEED, _NO_WAIT)),
    Command(
        "signal",
        "act",
        "send a signal; what is wanted of it does not change",
        "act:signal",
        (Arg(("signal",), "name or number: HUP, SIGUSR1, 10", {"metavar": "SIG"}), _NEED),
        examples=("taskmaster signal HUP nginx",),
    ),
    Command(
        "send",
        "act",
        "type a line to the input of a process",
        "send:send",
        (
            _PROCESS,
            Arg(("text",), "the line; `-`: all of standard input", {"nargs": "?", "metavar": "TEXT"}),
            Arg(("-n", "--no-newline"), "send it without a newline at its end", {"action": "store_true"}),
            Arg(("--eof",), "then end the input (a pipe), or press ctrl+d (a terminal)", {"action": "store_true"}),
        ),
        'For jobs with stdin = "pipe" or tty = true. A job that does not read is not waited for: what it cannot take '
        "is refused; with `-` its reading is waited for, 10 seconds or as long as --timeout says.",
        ("taskmaster send game 'say hello'", "taskmaster send db:0 - --eof < dump.sql"),
    ),
    Command(
        "attach",
        "act",
        "give this terminal to a process that has one",
        "attach:attach",
        (
            _PROCESS,
            Arg(("--read-only",), "look on, type nothing", {"action": "store_true"}),
            Arg(("--takeover",), "type, also if somebody else does: who then looks on", {"action": "store_true"}),
            Arg(("--detach-key",), "the key that leaves (default: ^])", {"default": "^]", "metavar": "KEY"}),
        ),
        "For jobs with tty = true. Shows the last screen, passes on every key and the size of the terminal. One types, "
        "any number look on; `a` there takes over. The detach key leaves the job running, and so does the end of this "
        "terminal.",
        ("taskmaster attach vim", "taskmaster attach web:1 --read-only"),
    ),
    Command(
        "scale",
        "act",
        "run another number of processes, until numprocess is edited",
        "act:scale",
        (Arg(("targets",), "which job, how many", {"nargs": "+", "metavar": "JOB=N"}, "job"), _NO_WAIT),
        examples=("taskmaster scale web=4",),
    ),
    Command(
        "hold",
        "act",
        "do not start it again by itself, until it is released",
        "act:hold",
        (_NEED,),
        "What runs goes on; what ends stays down, and a retry that waits is taken back. It holds over reloads and "
        "restarts of everything. `start` and `restart` work all the same.",
        ("taskmaster hold web:1",),
    ),
    Command("release", "act", "end a hold, and start what it has kept back", "act:release", (_NEED,)),
    Command(
        "undo",
        "act",
        "take the last action back",
        "act:undo",
        (Arg(("--plan",), "say what it would do, do nothing", {"action": "store_true"}),),
        "Starts what was stopped, stops what was started, scales back, ends a hold or holds again, and goes back to "
        "the generation before a reload. A restart, a signal and a reset cannot be undone. `undo` of an `undo` does "
        "it again.",
        ("taskmaster undo --plan", "taskmaster undo"),
    ),
    Command("reset", "act", "forget the failures counted so far", "act:reset", (_NEED,)),
    Command(
        "reload",
        "config",
        "apply what the config files say now",
        "reload:reload",
        (
            Arg(("--plan",), "show what would change, change nothing", {"action": "store_true"}),
            Arg(("--exit-code",), "with --plan: status 8 when something would change", {"action": "store_true"}),
            Arg(
                ("--except",),
                "leave these as they are",
                {"dest": "excepted", "action": "append", "metavar": "SEL"},
                "job",
            ),
        ),
    ),
    Command(
        "check",
        "config",
        "look for mistakes in config files",
        "config:check",
        (
            Arg(
                ("files",), "the files (default: the one that would be used)", {"nargs": "*", "metavar": "FILE"}, "file"
            ),
            Arg(("--fix",), "rewrite what can be rewritten safely", {"action": "store_true"}),
            Arg(
                ("--format",),
                "text, json or github",
                {"choices": ("text", "json", "github"), "dest": "format", "metavar": "FORMAT"},
            ),
        ),
        "Needs no core. Exit status 6 when there are errors.",
    ),
    Command(
        "config",
        "config",
        "which file is used and why; what is in force; the JSON Schema; set a key of [taskmaster]",
        "config:config",
        (
            Arg(
                ("what",),
                "path: which file; show: what the core has in force (or the file, without a core); "
                "schema: JSON Schema; set: change keys of [taskmaster] in the file",
                {"choices": ("path", "show", "schema", "set"), "metavar": "path|show|schema|set"},
            ),
            Arg(("pairs",), "with set: which key, what value", {"nargs": "*", "metavar": "KEY=VALUE"}),
        ),
        "`set` keeps comments and layout, checks the file before it is written, and has a running core take the "
        "settings; jobs stay as they are.",
        ("taskmaster config path", "taskmaster config set autoreload=ask"),
    ),
    Command(
        "add",
        "config",
        "add a job to the config file",
        "edit:add",
        (
            Arg(("name",), "its name", {"metavar": "NAME"}),
            Arg(("-p", "--numprocess"), "how many processes", {"type": "count", "metavar": "N"}),
            Arg(
                ("--set",),
                "another key, as in the file: --set 'restart=\"always\"'",
                {"action": "append", "metavar": "KEY=VALUE"},
            ),
            Arg(("--dry-run",), "check it and print the table that would be written", {"action": "store_true"}),
        ),
        "Comments and layout of the file are kept. It is checked before it is written, then reloaded if a core runs.",
        (
            "taskmaster add web -- python3 -m http.server 8000",
            "taskmaster add tick --set shell=true --set env.N=three --dry-run -- 'echo $N'",
        ),
        rest="CMD",
    ),
    Command(
        "edit",
        "config",
        "edit the config file at a job, checked before it is written",
        "edit:edit",
        (Arg(("job",), "where the cursor goes", {"nargs": "?", "metavar": "JOB"}, "job"),),
        "Uses $VISUAL, else $EDITOR, on a copy. What is saved is applied where saving does so (autoreload).",
    ),
    Command(
        "rollback",
        "config",
        "write back and apply the config of an earlier generation",
        "reload:rollback",
        (
            Arg(
                ("generation",),
                "its number (default: the one before)",
                {"nargs": "?", "type": "count", "metavar": "GENERATION"},
            ),
            Arg(("--list",), "show the generations there are", {"action": "store_true"}),
        ),
    ),
    Command(
        "upgrade",
        "more",
        "replace the running core and shim by what is installed now; jobs are not touched",
        "upgrade:upgrade",
        (
            Arg(("--core",), "the core only", {"action": "store_true"}),
            Arg(("--shim",), "the shim only", {"action": "store_true"}),
        ),
        "Install the new release first, in the place of the old one. Both are tried with the real state before "
        "anything is ended; what is not fit is refused (status 7), and the one that runs goes on.",
        ("pip install --upgrade taskmaster-tui && taskmaster upgrade",),
    ),
    Command(
        "host",
        "more",
        "keys and cores of other machines",
        "host:host",
        (
            Arg(
                ("what",),
                "keygen: make your key, print its public half; authorize NAME KEY: let a key in here; "
                "add NAME tcp://HOST:PORT KEY: remember a core elsewhere; list; rm NAME",
                {"choices": ("keygen", "authorize", "add", "list", "rm"), "metavar": "keygen|authorize|add|list|rm"},
            ),
            Arg(("words",), "what it takes", {"nargs": "*", "metavar": "WORD"}),
            Arg(
                ("--role",),
                "with authorize: read-only (default), operator or admin",
                {"choices": ("read-only", "operator", "admin"), "metavar": "ROLE"},
            ),
            Arg(("--core",), "with keygen: the key of the core here", {"action": "store_true"}),
            Arg(("--authorized",), "with rm: a key that is let in here", {"action": "store_true"}),
        ),
        "A core listens for other machines when `listen` in [taskmaster.access] says where, and lets in only keys that "
        "were authorized there. Without any key: forward its socket with ssh and use --socket.",
        (
            "taskmaster host keygen",
            "taskmaster host authorize laptop 'KEY' --role operator",
            "taskmaster host add prod tcp://prod.example.org:4711 'KEY'",
            "taskmaster --host prod status",
        ),
    ),
    Command("doctor", "more", "find out what is wrong with the machine or the set-up", "doctor:doctor"),
    Command("version", "more", "versions of client, core and libraries", "about:version"),
    Command(
        "completion",
        "more",
        "print the completions for a shell",
        "about:completion",
        (
            Arg(
                ("shell",),
                "bash, zsh or fish",
                {"choices": ("bash", "zsh", "fish", "jobs"), "metavar": "bash|zsh|fish"},
            ),
        ),
        "`completion jobs` prints the names of jobs, one a line: the completions ask it.",
        ('eval "$(taskmaster completion bash)"', "taskmaster completion fish | source"),
    ),
    Command(
        "help",
        "more",
        "explain a command",
        "about:explain",
        (Arg(("topic",), "the command", {"nargs": "?", "metavar": "COMMAND"}),),
    ),
)

BY_NAME = {command.name: command for command in COMMANDS}
