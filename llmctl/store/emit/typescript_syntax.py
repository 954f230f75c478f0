"""Words of TypeScript, for the emitters that write it."""

from __future__ import annotations

import json
import re

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def string(text: str) -> str:
    """Return a literal; every line end in it is escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def template(text: str) -> str:
    """Return what stands between backticks for a text."""
    return text.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")


def member(name: str) -> str:
    """Return a name as the key of an object: as it is, or as a string."""
    return name if _IDENTIFIER.fullmatch(name) else string(name)


def doc(text: str, margin: str = "") -> str:
    """Return a comment above a declaration, or nothing."""
    lines = text.replace("*/", "*\\/").splitlines()
    if len(lines) < 2:
        return f"{margin}/** {lines[0]} */\n" if lines else ""
    return f"{margin}/**\n" + "".join(f"{margin} * {line}".rstrip() + "\n" for line in lines) + f"{margin} */\n"


def either(values: tuple[str, ...]) -> str:
    """Return the union of literals."""
    return " | ".join(map(string, values))
