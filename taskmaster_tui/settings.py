"""What a person likes (`ui.toml`), and where they were when they left.

Reads and writes two files and decides nothing: preferences in the config directory, edited by hand or in the settings
screen, and the place (cursor, folds, filter, sizes) in the state directory, one file per core. Both may be missing or
broken: that costs a sentence, never a start.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
import tomli
from platformdirs import user_config_path, user_state_path

Glyphs = Literal["unicode", "ascii"]


class Preferences(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Hold what `ui.toml` may say."""

    theme: str = ""
    """"": chosen by the terminal."""
    glyphs: Glyphs = "unicode"
    preset: str = "default"
    keys: dict[str, str] = {}
    time: Literal["off", "clock", "date", "relative", "delta"] = "clock"
    wrap: bool = False
    mouse: bool = True
    cursor: bool = False
    """Keep the terminal's own cursor on the selected row: Braille lines and magnifiers follow it."""
    bell: bool = True
    """Ring, and notify the desktop, when something becomes fatal while the terminal is not looked at."""


class Place(msgspec.Struct, omit_defaults=True):
    """Hold where a person was: kept as it changes, so that a kill -9 loses nothing."""

    view: str = "jobs"
    cursor: str | None = None
    folded: list[str] = []
    unfolded: list[str] = []
    filter: str = ""
    problems: bool = False
    flat: bool = False
    sort: str = ""
    reverse: bool = False
    marks: list[str] = []
    split: int = 50
    """Per cent of the width that the list has."""
    tab: str = "logs"
    metrics: str = "cpu"


def preferences_path() -> Path:
    """Return where the preferences are."""
    return user_config_path("taskmaster", appauthor=False) / "ui.toml"


def place_path(instance: str) -> Path:
    """Return where the place of one core's client is."""
    safe = "".join(each if each.isalnum() or each in "-_." else "_" for each in instance)
    return user_state_path("taskmaster", appauthor=False) / "ui" / f"{safe}.json"


def load_preferences(path: Path) -> tuple[Preferences, str]:
    """Return the preferences, and what is wrong with the file ("" if nothing)."""
    try:
        return msgspec.convert(tomli.loads(path.read_text()), Preferences), ""
    except FileNotFoundError:
        return Preferences(), ""
    except (tomli.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError, OSError) as error:
        return Preferences(), f"{path}: {error}; the defaults are used"


def save_preferences(path: Path, changes: dict[str, Any]) -> None:
    """Write changed preferences; comments and layout stay. Raise OSError where that cannot be."""
    import tomlkit  # noqa: PLC0415  # loaded when something is changed, not at every start

    try:
        document = tomlkit.parse(path.read_text())
    except FileNotFoundError:
        document = tomlkit.document()
    for name, value in changes.items():
        document[name] = value
    _write(path, tomlkit.dumps(document).encode())


def load_place(path: Path) -> Place:
    """Return the place that was left; the default one if there is none or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Place)
    except (OSError, msgspec.MsgspecError):
        return Place()


def save_place(path: Path, place: Place) -> None:
    """Keep the place; where nothing can be written, nothing is kept."""
    with suppress(OSError):
        _write(path, msgspec.json.encode(place))


def _write(path: Path, data: bytes) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise
