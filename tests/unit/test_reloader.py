from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from taskmaster_core.errors import ConfigInvalid
from taskmaster_core.generations import Generations
from taskmaster_core.reloader import Reloader, Wish
from taskmaster_core.wire import Cause


class Broken:
    """A runtime whose worker fails at everything."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, dict[str, Any]]] = []
        self.worker = SimpleNamespace(submit=lambda _, done: done(None, ImportError("no module named tomli")))

    def fact(self, kind: str, cause: Cause, **data: Any) -> None:
        self.facts.append((kind, data))


def failing(*, only_plan: bool) -> tuple[Broken, Reloader, list[Any], list[str]]:
    runtime, told, said = Broken(), list[Any](), list[str]()
    reloader = Reloader(runtime, Generations("/nowhere"), (), {})  # type: ignore[arg-type]
    reloader.say = said.append
    reloader.ask(Wish(Cause("reload"), lambda _, error: told.append(error), only_plan=only_plan))
    return runtime, reloader, told, said


def test_a_config_that_cannot_even_be_read_is_said_everywhere() -> None:
    runtime, reloader, told, said = failing(only_plan=False)
    assert [kind for kind, _ in runtime.facts] == ["config_error"]
    assert "tomli" in said[0]
    assert "tomli" in str(reloader.problems)
    assert isinstance(told[0], ConfigInvalid)


def test_a_plan_that_cannot_even_be_read_is_said_to_who_asked() -> None:
    runtime, reloader, told, said = failing(only_plan=True)
    assert (runtime.facts, reloader.problems, said) == ([], [], [])
    assert isinstance(told[0], ConfigInvalid)


def test_the_next_wish_gets_its_turn_after_a_failure() -> None:
    _, reloader, told, _ = failing(only_plan=False)
    reloader.ask(Wish(Cause("reload"), lambda _, error: told.append(error)))
    assert len(told) == 2
