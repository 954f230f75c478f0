"""Every text that llmctl shows to people, collected in ``messages.txt`` so that wording is reviewed as prose.

``python -m tests.test_messages`` rewrites that file; read its diff.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).with_name("messages.txt")

#: Functions whose texts are shown on stderr.
NOTES = {"note", "note_once", "write_stderr_line", "Notice", "emit_change", "confirm", "ask"}
#: Functions that declare something with a help text.
HELPS = {"Option", "Argument", "option", "Setting", "CatalogEntry"}
#: Keywords whose value is shown wherever they stand.
KEYWORDS = {"hint", "help"}


def messages() -> dict[str, list[str]]:
    """Return the texts by kind, each once, in alphabetical order."""
    found: dict[str, set[str]] = {"error": set(), "hint": set(), "note": set(), "help": set(), "manual": set()}
    for path in sorted((ROOT / "llmctl").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for kind, text in (*_of_calls(tree), *_of_manuals(path, tree)):
            found[kind].add(" ".join(text.split()) if kind != "manual" else text)
    return {kind: sorted(texts) for kind, texts in found.items()}


def _of_calls(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and _is_hint(node):
            yield from (("hint", text) for text in _texts(node.value))
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for keyword in node.keywords:
            if keyword.arg in KEYWORDS:
                yield from ((keyword.arg, text) for text in _texts(keyword.value))
        arguments = [text for argument in node.args for text in _texts(argument)]
        if name.endswith(("Error", "_error")):
            yield from (("error", text) for text in arguments if " " in text)
        elif name in NOTES:
            yield from (("note", text) for text in arguments if " " in text)
        elif name in HELPS:
            yield from (("help", text) for text in arguments if " " in text)


def _is_hint(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(getattr(target, "attr", getattr(target, "id", "")) == "hint" for target in targets)


def _of_manuals(path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the docstrings of commands: they are shown as they are written."""
    if "commands" not in path.parts:
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            manual = ast.get_docstring(node)
            if manual and "Example" in manual:
                yield "manual", manual


def _texts(node: ast.expr | None) -> Iterator[str]:
    """Yield the text of a literal, of both sides of a choice and of a sum; what is filled in stands in braces."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            yield "".join(map(_piece, node.values))
        case ast.IfExp():
            yield from (*_texts(node.body), *_texts(node.orelse))
        case ast.BoolOp():
            yield from (text for value in node.values for text in _texts(value))
        case ast.BinOp(op=ast.Add()):
            yield "".join((*_texts(node.left), *_texts(node.right)))


def _piece(value: ast.expr) -> str:
    """Return literal text as it is, and what is filled in as the last name of its expression: ``{name}``."""
    if isinstance(value, ast.Constant):
        return str(value.value)
    names = re.findall(r"[A-Za-z_]\w*", ast.unparse(value.value if isinstance(value, ast.FormattedValue) else value))
    return f"{{{names[-1] if names else '...'}}}"


def rendered() -> str:
    """Return the golden file as it should be."""
    sections = [f"== {kind} ({len(texts)})\n\n" + "\n".join(texts) + "\n" for kind, texts in messages().items()]
    return "\n".join(sections)


def test_messages_are_those_that_were_reviewed() -> None:
    assert rendered() == GOLDEN.read_text(encoding="utf-8"), "read the diff of: python -m tests.test_messages"


def test_messages_have_one_form() -> None:
    texts = messages()
    assert min(map(len, texts.values())) > 50
    wrong = [text for text in texts["error"] if text[0].isupper() and text.split()[0].isalpha() and text[1:2].islower()]
    wrong += [text for text in (*texts["error"], *texts["note"]) if text.endswith(".") and not text.endswith("...")]
    assert wrong == []


if __name__ == "__main__":
    GOLDEN.write_text(rendered(), encoding="utf-8")
