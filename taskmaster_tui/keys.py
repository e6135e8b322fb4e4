"""Which key does what: presets of other programs, a person's own keys, and the check that none of them clash.

Pure data and rules; the app hands the result to Textual. Keys are spelled as Textual does (`ctrl+r`, `question_mark`);
single characters are fine too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from taskmaster_tui.actions import BY_ID, SCOPES, VIEWS

Keymap = Mapping[str, str]
"""Action ids to comma separated keys."""

PRESETS: dict[str, dict[str, str]] = {
    "default": {},
    "k9s": {
        "jobs.logs": "enter,l", "jobs.unfold": "right", "jobs.fold": "left", "log.right": "right", "log.left": "left",
        "jobs.problems": "ctrl+z,exclamation_mark", "job.kill": "ctrl+k,X", "job.scale": "s", "job.start": "S",
        "log.follow": "s", "log.time": "t", "core.start": "U", "core.upgrade": "f8",
    },
    "lazydocker": {
        "events.log": "O", "job.stop": "s", "job.start": "S", "app.keys": "x,question_mark,f1",
        "jobs.logs": "enter,m", "job.edit": "o", "jobs.problems": "e,exclamation_mark", "core.start": "U",
        "core.upgrade": "f8",
    },
    "process-compose": {
        "job.start": "f7", "job.stop": "f9", "job.restart": "ctrl+r", "config.reload": "ctrl+o", "job.scale": "f2",
        "jobs.details": "f3", "jobs.logs": "enter,f4", "log.wrap": "f5,w", "log.follow": "f6,f", "app.quit": "f10,q",
        "log.search": "f3,slash", "jobs.add": "A",
    },
    "mprocs": {
        "job.start": "s", "job.stop": "x", "job.kill": "X", "job.restart": "r", "jobs.add": "a", "app.quit": "q",
        "app.zoom": "z", "job.copy": "v,y", "job.attach": "ctrl+a",
    },
}  # fmt: skip
"""What each changes of the default; everything else stays as it is."""

_NAMES = {
    ",": "comma", ":": "colon", ";": "semicolon", "?": "question_mark", "!": "exclamation_mark", "/": "slash",
    "+": "plus", "-": "minus", "=": "equals_sign", "*": "asterisk", "&": "ampersand", "'": "apostrophe",
    "`": "grave_accent", "<": "less_than_sign", ">": "greater_than_sign", "[": "left_square_bracket",
    "]": "right_square_bracket", "{": "left_curly_bracket", "}": "right_curly_bracket", " ": "space",
    "|": "vertical_line", "#": "number_sign", "@": "at", "$": "dollar_sign", "%": "percent_sign",
    "^": "circumflex_accent", ".": "full_stop",
    "\\": "backslash", "~": "tilde", "_": "underscore", '"': "quotation_mark", "(": "left_parenthesis",
    ")": "right_parenthesis",
}  # fmt: skip
_SAME = {
    "ctrl+i": "tab", "ctrl+m": "enter", "ctrl+left_square_bracket": "escape", "ctrl+j": "enter", "ctrl+h": "backspace",
    "ctrl+at": "ctrl+space",
}  # fmt: skip
"""Keys that most terminals send as another one: nobody can press them."""
_SIGNS = {name: sign for sign, name in _NAMES.items() if sign != " "}
_SHOWN = {
    "enter": "⏎", "space": "␣", "escape": "esc", "up": "↑", "down": "↓", "left": "←", "right": "→", "pageup": "PgUp",
    "pagedown": "PgDn", "home": "Home", "end": "End", "tab": "tab", "backspace": "⌫", "delete": "Del",
}  # fmt: skip


def spell(key: str) -> str:
    """Return a key by its long name: `?` is `question_mark`."""
    return _NAMES.get(key, key)


def split(keys: str) -> list[str]:
    """Return the keys of a comma separated list; `,` alone is the comma."""
    return ["comma"] if keys == "," else [spell(each.strip() or ",") for each in keys.split(",")]


def shown(key: str) -> str:
    """Return a key as people write it: `^r`, `?`, `⏎`."""
    modifier, plus, plain = key.rpartition("+")
    if plus and modifier == "ctrl":
        return "^" + shown(plain)
    if plus:
        return f"{modifier}+{shown(plain)}"
    return _SHOWN.get(key) or _SIGNS.get(key) or (key.upper() if key[:1] == "f" and key[1:].isdigit() else key)


def merged(preset: str, own: Keymap) -> dict[str, str]:
    """Return the keymap of a preset and a person's own keys, which win."""
    chosen = {**PRESETS.get(preset, {}), **own}
    return {name: ",".join(split(keys)) for name, keys in chosen.items() if name in BY_ID and keys.strip()}


def keys_of(action_id: str, keymap: Keymap) -> list[str]:
    """Return the keys of an action."""
    return split(keymap.get(action_id, BY_ID[action_id].keys))


def problems(preset: str, own: Keymap) -> list[str]:
    """Return what is wrong with a person's keys, one sentence each: unknown names, and keys that mean two things."""
    found = [f"there is no preset `{preset}`: {', '.join(PRESETS)}"] if preset not in PRESETS else []
    found += [f"there is no action `{name}`: the keys sheet (?) shows their ids" for name in own if name not in BY_ID]
    found += [f"`{shown(key)}` is {_SAME[key]} in a terminal: choose another key for {name}"
              for name, each in own.items() for key in split(each) if key in _SAME]  # fmt: skip
    return found + list(dict.fromkeys(clashes(merged(preset, own))))


def clashes(keymap: Keymap) -> Iterator[str]:
    """Yield a sentence for each key that means two things in one view."""
    for view, scopes in VIEWS.items():
        taken: dict[str, str] = {}
        for action_id in _ids((*scopes, "global")):
            for key in keys_of(action_id, keymap):
                other = taken.setdefault(key, action_id)
                if other != action_id:
                    yield f"`{shown(key)}` means {other} and {action_id} in {view}"


def _ids(scopes: Iterable[str]) -> Iterator[str]:
    return (action.id for scope in scopes for action in SCOPES[scope])
