"""What an envfile holds.

Decides nothing but what dotenv syntax means here: values are literal, nothing inside them is replaced. The World asks
once for each file of a load.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from os import stat_result

from taskmaster_core.config.source import LARGEST, Finding, Path, Source

_SECRET = re.compile(r"passw|secret|token|credential|api_?key|private", re.IGNORECASE)

Reader = Callable[[str], tuple[bytes, stat_result | None]]


class Envfile:
    """Hold one file's variables, or why there are none."""

    def __init__(self, path: str, read: Reader, distrusted: Callable[[stat_result | None], str]) -> None:
        self.path = path
        self.missing = False
        self.error = ""
        self.warning = ""
        self._variables: dict[str, str] = {}
        try:
            raw, status = read(path)
        except FileNotFoundError:
            self.missing = True
            self.error = "there is no such file"
        except (OSError, ValueError) as error:
            self.error = getattr(error, "strerror", None) or str(error)
        else:
            self.error = distrusted(status) or self._parse(raw)
            self._judge_mode(status)

    def _parse(self, raw: bytes) -> str:
        from dotenv.parser import parse_stream  # noqa: PLC0415  costs 10 ms, few configs have one

        if len(raw) > LARGEST:
            return f"the file is larger than {LARGEST} bytes"
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return f"byte 0x{raw[error.start]:02x} at offset {error.start} is not UTF-8"
        for binding in parse_stream(io.StringIO(text)):
            valueless = binding.key is not None and binding.value is None
            if binding.error or valueless or "\0" in (binding.value or ""):
                text = binding.original.string
                blank = text[: len(text) - len(text.lstrip())].count("\n")
                return f"line {binding.original.line + blank} is not NAME=value"
            if binding.key is not None:
                self._variables[binding.key] = binding.value or ""
        return ""

    def _judge_mode(self, status: stat_result | None) -> None:
        secret = next((name for name in self._variables if _SECRET.search(name)), None)
        if status is not None and status.st_mode & 0o004 and secret:
            self.warning = f"everybody can read {self.path}, and it holds `{secret}`"

    def variables(self, optional: bool, source: Source, spot: Path) -> dict[str, str]:
        """Return the variables; report an error at the key that names the file."""
        if self.error and not (self.missing and optional):
            advice = "a `?` before the path says that it may be missing" if self.missing else ""
            source.report(Finding("E008", f"`envfile`: {self.path}: {self.error}", advice, spot))
        if self.warning:
            source.report(Finding("W105", self.warning, f"chmod 600 {self.path}", spot))
        return self._variables
