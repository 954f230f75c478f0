"""Man pages: one for each command, with what its help says, valid for groff and mandoc, installed by the wheel."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from llmctl.cli import catalog
from llmctl.cli.help.man import build_pages
from tests.harness import PYTHON, ROOT, run_command

PAGES = build_pages("2026-01-02")


def plain(page: str) -> str:
    """Return the text of a page without its fonts and escapes."""
    text = re.sub(r"\\f[BIR]", "", PAGES[page])
    return text.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")


def test_each_command_has_a_page_with_its_options_and_examples() -> None:
    assert {f"llmctl-{'-'.join(path)}.1" for path in catalog.command_paths()} < PAGES.keys()
    chat = plain("llmctl-chat.1")
    assert chat.startswith('.TH LLMCTL-CHAT 1 2026-01-02 "llmctl ')
    for line in (".SS Input", ".SS Model", ".SS Limits", "-m, --model REF", 'llmctl chat -c "and in one sentence?"'):
        assert f"\n{line}\n" in chat
    overview = plain("llmctl.1")
    for line in ("LLMCTL_DB", "git diff | llmctl chat", "llmctl chats"):
        assert line in overview
    assert "\n12\nincomplete: " in overview


def test_pages_lead_to_pages_that_exist() -> None:
    links = [link for page in PAGES for link in re.findall(r"^\.BR (\S+) \(1\)", plain(page), re.MULTILINE)]
    assert len(links) > len(PAGES)
    assert {f"{link}.1" for link in links} <= PAGES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("command", [["mandoc", "-Tlint", "-Wwarning"], ["groff", "-man", "-ww", "-Tutf8"]])
def test_formatters_have_nothing_to_say(command: list[str], tmp_path: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
        done = run_command([*command, str(tmp_path / name)])
        assert (done.returncode, done.stderr) == (0, ""), name
        assert command[0] == "groff" or done.stdout == "", name


@pytest.mark.slow
@pytest.mark.optin
def test_wheel_installs_pages_that_man_finds(tmp_path: Path) -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    run_command([*pip, "wheel", "-q", ROOT, "--no-deps", "-w", str(tmp_path)], env=os.environ)
    (wheel,) = tmp_path.glob("*.whl")
    run_command([PYTHON, "-m", "venv", "--without-pip", str(tmp_path / "venv")])
    python = str(tmp_path / "venv/bin/python")
    run_command([*pip, "--python", python, "install", "-q", "--no-deps", str(wheel)], env=os.environ)
    env = {"PATH": f"{tmp_path}/venv/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}
    done = run_command(["man", "--warnings", "llmctl-chats-list"], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "List conversations" in done.stdout
