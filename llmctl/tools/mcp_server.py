"""Serve tools, prompts and resources over MCP, with the official SDK: https://modelcontextprotocol.io."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import mcp_types as types
from anyio import to_thread
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from llmctl.core.errors import LlmctlError
from llmctl.core.values import Value


class ServedTool(Value):
    """A tool for programs. ``call`` gets the arguments and the name of the program; it runs in a thread."""

    name: str
    description: str
    #: JSON Schema of the arguments.
    schema: Mapping[str, Any]
    call: Callable[[Mapping[str, Any], str], Any]
    is_read_only: bool = True


class ServedPrompt(Value):
    """A prompt with arguments: pairs of name and whether it is required. ``render`` returns its text."""

    name: str
    description: str
    arguments: tuple[tuple[str, bool], ...]
    render: Callable[[Mapping[str, str]], str]


class McpService(Value):
    """What a server offers. ``read`` returns the text of a resource by its URI."""

    name: str
    version: str
    instructions: str
    tools: Sequence[ServedTool]
    list_prompts: Callable[[], Sequence[ServedPrompt]]
    list_resources: Callable[[], Sequence[tuple[str, str]]]
    resource_template: str
    read: Callable[[str], str]


def serve_stdio(service: McpService) -> None:
    """Serve over stdin and stdout until stdin ends."""
    anyio.run(_serve_stdio, service)


async def _serve_stdio(service: McpService) -> None:
    server = _build_server(service)
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


def serve_http(service: McpService, port: int) -> None:
    """Serve over HTTP on a port of loopback, at ``/mcp``, until the process is stopped.

    Raises ImportError where the server that the SDK uses for it is not installed.
    """
    import uvicorn

    app = _build_server(service).streamable_http_app(host="127.0.0.1")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def _build_server(service: McpService) -> Server[Any]:
    handlers = _Handlers(service)
    return Server(
        service.name,
        version=service.version,
        instructions=service.instructions,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
    )


class _Handlers:
    """The requests of a client. One runs at a time: they share a connection to the hub."""

    def __init__(self, service: McpService) -> None:
        self._service = service
        self._tools = {tool.name: tool for tool in service.tools}
        self._one_at_a_time = anyio.CapacityLimiter(1)

    async def list_tools(self, context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=dict(tool.schema),
                    annotations=types.ToolAnnotations(read_only_hint=tool.is_read_only, open_world_hint=False),
                )
                for tool in self._tools.values()
            ]
        )

    async def call_tool(self, context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = self._tools.get(params.name)
        if tool is None:
            return _failed(f'no tool "{params.name}"')
        client = _client_name(context)
        try:
            found = await self._run(tool.call, params.arguments or {}, client)
        except LlmctlError as error:
            return _failed(f"{error.message}{f' ({error.hint})' if error.hint else ''}")
        if isinstance(found, str):
            return types.CallToolResult(content=[types.TextContent(type="text", text=found)])
        text = json.dumps(found, ensure_ascii=False)
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=found)

    async def list_prompts(self, context: Any, params: Any) -> types.ListPromptsResult:
        prompts = await self._run(self._service.list_prompts)
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(
                    name=prompt.name,
                    description=prompt.description,
                    arguments=[types.PromptArgument(name=name, required=needed) for name, needed in prompt.arguments],
                )
                for prompt in prompts
            ]
        )

    async def get_prompt(self, context: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        prompts = await self._run(self._service.list_prompts)
        prompt = next((one for one in prompts if one.name == params.name), None)
        if prompt is None:
            raise MCPError(types.INVALID_PARAMS, f'no prompt "{params.name}"')
        try:
            text = await self._run(prompt.render, params.arguments or {})
        except LlmctlError as error:
            raise MCPError(types.INVALID_PARAMS, error.message) from None
        message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
        return types.GetPromptResult(description=prompt.description, messages=[message])

    async def list_resources(self, context: Any, params: Any) -> types.ListResourcesResult:
        found = await self._run(self._service.list_resources)
        return types.ListResourcesResult(
            resources=[types.Resource(uri=uri, name=name, mime_type="text/markdown") for uri, name in found]
        )

    async def list_templates(self, context: Any, params: Any) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(uri_template=self._service.resource_template, name="chat")
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(self, context: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = str(params.uri)
        try:
            text = await self._run(self._service.read, uri)
        except LlmctlError as error:
            raise MCPError(types.INVALID_PARAMS, error.message) from None
        contents = types.TextResourceContents(uri=uri, mime_type="text/markdown", text=text)
        return types.ReadResourceResult(contents=[contents])

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await to_thread.run_sync(function, *arguments, limiter=self._one_at_a_time)


def _failed(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)


def _client_name(context: Any) -> str:
    """Return how the program calls itself, which is not always told."""
    params = getattr(getattr(context, "session", None), "client_params", None)
    info = getattr(params, "client_info", None)
    return str(getattr(info, "name", "") or "unknown")
