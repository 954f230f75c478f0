"""The flags that define a tool, as ``tool add`` and ``tool edit`` take them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llmctl.cli.commands.tool import read_json, read_json_object
from llmctl.core.options import OptionSet, option

if TYPE_CHECKING:
    from llmctl.engine.tools.define import ToolSpecInput


class ToolFlags(OptionSet):
    """The flags that define a tool."""

    description: str | None = option("Description of the tool for models.", metavar="TEXT", allows_empty=True)
    schema: str | None = option("JSON Schema of the arguments.", metavar="FILE|JSON")
    command: str | None = option("Command to run, with {slots} for arguments.", metavar="CMD")
    shell: bool = option("Run the command in a shell; {slots} stand outside quotes.", kind="switch")
    arguments: str | None = option("How to pass arguments: stdin (as JSON), flags or none. [stdin]", metavar="MODE")
    file: str | None = option("Python or JavaScript file.", metavar="FILE")
    module: str | None = option("Python module.", metavar="MODULE")
    function: str | None = option("Function in the file or module.", metavar="NAME")
    url: str | None = option("URL to request, with {slots} for arguments.", metavar="URL")
    method: str | None = option("HTTP method.", metavar="METHOD")
    headers: Mapping[str, str] = option("HTTP header; V may be env:VAR.", kind="pairs", flag="--header", metavar="K=V")
    body: str | None = option("JSON request body, with {slots}.", metavar="JSON|@FILE")
    hosts: tuple[str, ...] = option("Allowed host, such as *.example.com.", kind="list", flag="--host", metavar="HOST")
    folders: tuple[str, ...] = option("Folder the tool may read.", kind="list", flag="--folder", metavar="PATH")
    env: tuple[str, ...] = option("Environment variable to pass; V may be env:VAR.", kind="list", metavar="NAME[=V]")
    cwd: str | None = option("Working directory.", metavar="PATH")
    timeout: float | None = option("Time limit of a run. [60]", kind="number", metavar="SECONDS")
    output_limit: int | None = option("Bytes of the result passed to the model. [100000]", kind="integer", metavar="N")
    halt: bool = option('Treat the result {"halt": true, "content": …} as the final answer.', kind="switch")
    data: str | None = option("Additional tool data, as a JSON object.", metavar="JSON|@FILE")


#: Flags that go into a tool's data under their own name.
_DATA_FLAGS = ("command", "module", "function", "url", "method", "timeout", "arguments", "shell", "halt", "headers")


def parse_tool_spec(flags: ToolFlags, name: str | None, kind: str | None = None, **more: Any) -> ToolSpecInput:
    """Return the spec of the flags. Paths become absolute: a tool is run from anywhere. ``more`` is further data."""
    data: dict[str, Any] = dict(read_json_object(flags.data, "--data") or {})
    given = flags.to_dict()
    data |= {key: given[key] for key in _DATA_FLAGS if key in given}
    data |= {key: value for key, value in more.items() if value is not None}
    if flags.output_limit is not None:
        data["output"] = flags.output_limit
    if flags.file:
        data["file"] = _absolute_path(flags.file)
    if flags.cwd:
        data["folder"] = _absolute_path(flags.cwd)
    if flags.folders:
        data["folders"] = [_absolute_path(path) for path in flags.folders]
    if flags.hosts:
        data["hosts"] = list(flags.hosts)
    if flags.body:
        data["body"] = read_json(flags.body, "--body")
    if flags.env:
        data["env"] = _parse_env(flags.env)
    from llmctl.engine.tools.define import ToolSpecInput  # loads the validator

    return ToolSpecInput(name, kind, flags.description, read_json_object(flags.schema, "--schema"), data)


def _absolute_path(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _parse_env(items: Iterable[str]) -> dict[str, str]:
    """Return ``NAME`` (our own variable, by reference) and ``NAME=VALUE`` as an object."""
    variables = {}
    for item in items:
        name, equals, value = item.partition("=")
        variables[name] = value if equals else f"env:{name}"
    return variables
