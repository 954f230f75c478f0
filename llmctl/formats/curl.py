"""An HTTP request as a curl command to paste into a shell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from shlex import quote

#: Longer bodies may exceed the limit of a command line argument and are passed on stdin.
_MAX_ARGUMENT_BYTES = 100_000


#: A header with a variable that a shell reads as just that: names may come from files of anybody.
_IN_DOUBLE_QUOTES = re.compile(r"[A-Za-z0-9_-]+: (Bearer )?\$[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def format_command(
    method: str, url: str, headers: Mapping[str, str], body: str, variables: Mapping[str, str], *, stream: bool = False
) -> str:
    """Return the command. ``variables`` are headers with shell variables in their value: ``Bearer $KEY``."""
    lines = [
        "curl" + (" -N" if stream else "") + ("" if method == "POST" else f" -X {quote(method)}") + f" {quote(url)}"
    ]
    # curl sets these itself.
    own = ("host", "content-length", "accept-encoding", "connection", "user-agent")
    for name, value in headers.items():
        if name in variables and _IN_DOUBLE_QUOTES.fullmatch(f"{name}: {variables[name]}"):
            lines.append(f'-H "{name}: {variables[name]}"')
        elif name.lower() not in own:
            lines.append(f"-H {quote(f'{name}: {value}')}")
    text = " \\\n  ".join(lines)
    if len(body.encode()) <= _MAX_ARGUMENT_BYTES:
        return f"{text} \\\n  --data-raw {quote(body)}\n"
    end = "END_OF_BODY"
    while end in body:
        end += "_"
    return f"{text} \\\n  --data-binary @- <<'{end}'\n{body}\n{end}\n"
