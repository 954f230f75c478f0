"""An HTTP request as a curl command to paste into a shell."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

#: More than this does not fit on a command line everywhere.
_MOST_BYTES = 100_000


def command(
    method: str, url: str, headers: Mapping[str, str], body: str, variables: Mapping[str, str], *, stream: bool = False
) -> str:
    """Return the command. ``variables`` are headers whose value is the shell's to fill in: ``Bearer $KEY``."""
    lines = ["curl" + (" -N" if stream else "") + ("" if method == "POST" else f" -X {method}") + f" {quote(url)}"]
    # curl counts and names these itself.
    own = ("host", "content-length", "accept-encoding", "connection", "user-agent")
    for name, value in headers.items():
        if name in variables:
            lines.append(f'-H "{name}: {variables[name]}"')
        elif name.lower() not in own:
            lines.append(f"-H {quote(f'{name}: {value}')}")
    text = " \\\n  ".join(lines)
    if len(body.encode()) <= _MOST_BYTES:
        return f"{text} \\\n  --data-raw {quote(body)}\n"
    end = "END_OF_BODY"
    while end in body:
        end += "_"
    return f"{text} \\\n  --data-binary @- <<'{end}'\n{body}\n{end}\n"
