"""Patterns of rules: what denies cannot be stepped around by spelling, what allows covers no more than it names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.tools import Tool
from llmctl.engine.tools.authorize import rule_matches
from llmctl.tools import argument_patterns
from llmctl.tools.argument_patterns import command_is_allowed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "work"
    for name in ("secrets/key.txt", "docs/a.md", "docs/sub/b.md", "notes.md"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("x")
    (tmp_path / "outside").write_text("x")
    (base / "docs/link.md").symlink_to(base / "secrets/key.txt")
    (base / "docs/out.md").symlink_to(tmp_path / "outside")
    (base / "alias").symlink_to(base / "secrets")
    (base / "texts").symlink_to(base / "docs")
    return base


def judge(tool: str, name: str, pattern: str, text: Any, folder: Path) -> tuple[bool, bool]:
    """Return whether a rule with that pattern allows, and denies."""
    data: dict[str, Any] = {"builtin": tool, "folder": str(folder)}
    rule, arguments = {"glob": {name: pattern}}, {} if text is None else {name: text}
    call = Tool(tool, "builtin" if tool != "count" else "command", data=data)
    return rule_matches(rule, arguments, "allow", call), rule_matches(rule, arguments, "deny", call)


@pytest.mark.parametrize(
    "text",
    [
        "secrets/key.txt",
        "./secrets/key.txt",
        ".//secrets//key.txt",
        "docs/../secrets/key.txt",
        "docs/sub/../../secrets/./key.txt",
        "{folder}/secrets/key.txt",
        "//{folder}/docs/../secrets/key.txt",
        "alias/key.txt",
        "docs/link.md",
        "../work/secrets/key.txt",
        "secrets/new/../key.txt",
        "./" * 3000 + "secrets/key.txt",
    ],
)
@pytest.mark.parametrize("pattern", ["secrets/*", "./secrets/*", "secrets/key.txt", "{folder}/secrets/*", "alias/*"])
@pytest.mark.parametrize("tool", ["read_file", "count"])
def test_denied_path_is_denied_in_every_spelling(tool: str, pattern: str, text: str, folder: Path) -> None:
    pattern, text = pattern.replace("{folder}", str(folder)), text.replace("{folder}", str(folder))
    if tool == "count" and len(text) > 4096:
        pytest.skip("longer than a path of a program can be")
    assert judge(tool, "path", pattern, text, folder)[1]
    assert not judge(tool, "path", pattern, "docs/a.md", folder)[1]


@pytest.mark.parametrize("text", ["secrets", "secrets/", "./secrets/", "alias", "docs/../secrets"])
def test_denied_folder_is_not_listed_either(text: str, folder: Path) -> None:
    assert judge("list_files", "path", "secrets/*", text, folder)[1]


def test_missing_path_is_the_folder_itself(folder: Path) -> None:
    assert judge("list_files", "path", "*", None, folder) == (True, True)
    assert judge("list_files", "path", ".", None, folder) == (True, True)
    assert judge("list_files", "path", "docs/*", None, folder) == (False, False)


@pytest.mark.parametrize(
    ("pattern", "text", "allowed"),
    [
        ("docs/*", "docs/a.md", True),
        ("docs/*", "./docs//sub/b.md", True),
        ("docs/*", "secrets/../docs/a.md", True),
        ("docs/*", "{folder}/docs/a.md", True),
        ("docs/*", "texts/a.md", True),
        ("texts/*", "docs/a.md", True),
        ("docs/*", "docs/link.md", False),
        ("docs/*", "docs/out.md", False),
        ("docs/*", "docs/../secrets/key.txt", False),
        ("docs/*", "docs/../../outside", False),
        ("*", "../outside", False),
        ("*", "notes.md", True),
        ("*.md", "docs/out.md", False),
        ("notes.md", "./notes.md", True),
        ("docs/link.md", "docs/link.md", True),
        ("docs/*", "docs/a\0.md", False),
    ],
)
def test_allowed_path_is_where_it_leads(pattern: str, text: str, allowed: bool, folder: Path) -> None:
    assert judge("read_file", "path", pattern, text.replace("{folder}", str(folder)), folder)[0] is allowed


def test_names_are_compared_as_the_file_system_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensitive = not os.path.exists(folder / "SECRETS")
    assert judge("read_file", "path", "secrets/*", "SECRETS/KEY.TXT", folder)[1] is not sensitive
    assert judge("read_file", "path", "caf\u00e9/*", "cafe\u0301/x", folder)[1]
    monkeypatch.setattr(os.path, "samefile", lambda one, other: True)  # a file system that ignores case
    assert judge("read_file", "path", "secrets/*", "SECRETS/KEY.TXT", folder) == (False, True)


@pytest.mark.parametrize(
    ("rule", "line", "allowed"),
    [
        ("cat docs/*", "cat docs/a.md", True),
        ("cat docs/*", "cat ./docs/sub/b.md", False),  # as it is written, too
        ("cat docs/*", "cat docs/sub/b.md", True),
        ("cat docs/*", "cat docs/../../outside", False),
        ("cat docs/*", "cat docs/../secrets/key.txt", False),
        ("cat docs/*", "cat docs/a.md /etc/passwd", False),
        ("cat docs/*", "cat docs/link.md", False),
        ("cat docs/*", "cat docs/*", True),
        ("cat docs/*", "cat", False),
        ("cat *.md", "cat --output=x.md", False),
        ("cat *.md", "cat ../x.md", False),
        ("cat *.md", "cat notes.md", True),
        ("git log *", "git log --oneline -5", True),
        ("git log *", "git log", True),
        ("git log *", "git push", False),
        ("git log*", "git log --oneline", False),
        ("git log*", "git log", True),
        ("ls", "ls -l /etc", True),
        ("ls", "/bin/ls", False),
        ("cp * docs/new.md", "cp notes.md docs/new.md", True),
        ("cp * docs/new.md", "cp notes.md /etc/passwd", False),
        ("*", "rm -rf x", True),
    ],
)
def test_command_rule_is_a_pattern_for_each_word(rule: str, line: str, allowed: bool, folder: Path) -> None:
    assert command_is_allowed(rule, line.split(), str(folder)) is allowed
    if " " in rule and "*" in rule:
        assert judge("run_command", "command", rule, line, folder)[0] is allowed


@pytest.mark.parametrize(
    ("pattern", "line", "denied"),
    [
        ("rm *", "rm -rf x", True),
        ("rm *", "  'rm'   -rf x", True),
        ("rm *", "/bin/rm x", True),
        ("rm *", "ls rm", False),
        ("cat secrets/*", "cat ./secrets/key.txt", True),
        ("cat secrets/*", "cat -n docs/a.md docs/../secrets/key.txt", True),
        ("cat secrets/*", "cat alias/key.txt", True),
        ("cat secrets/*", "cat docs/a.md", False),
        ("* --file=secrets/*", "tar --file=./secrets/x", False),
        ("tar secrets/*", "tar --file=./secrets/x", True),
        ("git push*", "git push --force", True),
    ],
)
def test_denied_command_is_denied_in_every_spelling(pattern: str, line: str, denied: bool, folder: Path) -> None:
    assert judge("run_command", "command", pattern, line, folder)[1] is denied


@pytest.mark.parametrize(
    ("pattern", "url", "allows", "denies"),
    [
        ("https://a.example/*", "https://a.example/x", True, True),
        ("https://a.example/*", "HTTPS://A.EXAMPLE:443/x/../y", True, True),
        ("https://a.example/*", "https://user@a.example./x", False, True),
        ("https://a.example/private/*", "https://a.example/%70rivate/x", True, True),
        ("https://a.example/private/*", "https://a.example/public/../private/x", True, True),
        ("https://a.example/public/*", "https://a.example/public/../private/x", False, True),
        ("https://*.example/*", "https://evil.org/x.example/y", False, True),
        ("https://a.example/*", "https://b.example/x", False, False),
        ("https://a.example/*", "https://a.example\\@evil.org/x", False, False),
    ],
)
def test_url_rule_is_compared_with_what_is_requested(
    pattern: str, url: str, allows: bool, denies: bool, folder: Path
) -> None:
    assert judge("fetch_url", "url", pattern, url, folder) == (allows, denies)


def test_folders_of_a_tool_are_those_of_its_rules(folder: Path) -> None:
    tool = Tool("r", "builtin", data={"builtin": "read_file", "folders": ["secrets", "docs"], "folder": str(folder)})
    assert argument_patterns.list_folders(tool) == (f"{folder}/secrets", f"{folder}/docs")
    assert rule_matches({"glob": {"path": "key.txt"}}, {"path": f"{folder}/secrets/key.txt"}, "deny", tool)
    assert rule_matches({"glob": {"path": "*"}}, {"path": "../docs/a.md"}, "allow", tool)
    assert not rule_matches({"glob": {"path": "*"}}, {"path": "../notes.md"}, "allow", tool)
