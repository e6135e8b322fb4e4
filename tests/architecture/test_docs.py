"""What the pages say can be followed: links lead somewhere, configs are valid, commands and targets exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
README = (ROOT / "README.md").read_text()


def run(*args: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskmaster_core", *args, *([str(config)] if config else [])],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", blocks("toml"), ids=range(len(blocks("toml"))))
def test_a_config_in_the_readme_is_valid(text: str, tmp_path: Path) -> None:
    file = tmp_path / "taskmaster.toml"
    file.write_text(text)
    done = run("check", config=file)
    assert done.returncode == 0, done.stdout + done.stderr


def commands() -> list[str]:
    shown = "\n".join(blocks("(?:sh|console)"))
    found = re.findall(r"^(?:\$ )?(?:taskmaster|tm)(?: --?[a-z-]+ \S+)* ([a-z]+)", shown, re.MULTILINE)
    return sorted(set(found))


@pytest.mark.parametrize("command", commands())
def test_a_command_in_the_readme_exists(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr


def test_the_readme_says_where_it_comes_from() -> None:
    assert "github.com/apsaint" in README
    assert "github.com/cempassi" in README


def test_every_target_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets


def test_an_issue_in_the_changelog_is_under_a_known_heading() -> None:
    headings = re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
