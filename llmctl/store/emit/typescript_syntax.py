"""TypeScript syntax for the emitters."""

from __future__ import annotations

import json
import re

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def quote_string(text: str) -> str:
    """Return a string literal with all line ends escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def escape_template(text: str) -> str:
    """Return a text escaped for a template literal."""
    return text.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")


def property_name(name: str) -> str:
    """Return a name as an object key, quoted if necessary."""
    return name if _IDENTIFIER.fullmatch(name) else quote_string(name)


def doc_comment(text: str, margin: str = "") -> str:
    """Return a doc comment for a declaration, or an empty string."""
    lines = text.replace("*/", "*\\/").splitlines()
    if len(lines) < 2:
        return f"{margin}/** {lines[0]} */\n" if lines else ""
    return f"{margin}/**\n" + "".join(f"{margin} * {line}".rstrip() + "\n" for line in lines) + f"{margin} */\n"


def union(values: tuple[str, ...]) -> str:
    """Return a union of string literals."""
    return " | ".join(map(quote_string, values))
