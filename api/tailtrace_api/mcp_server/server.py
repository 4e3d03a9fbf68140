"""The tools, prompts and the resource, spoken by the official SDK's server. The transports are `stdio` and `mount`."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    PromptMessage,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from mcp_types import Prompt as PromptInfo
from mcp_types import Tool as ToolInfo

from tailtrace_api.mcp_server.guide import DEFINITIONS_URI, INSTRUCTIONS, PROMPTS, definitions
from tailtrace_api.mcp_server.parameters import schema
from tailtrace_api.mcp_server.schema import output_schema
from tailtrace_api.mcp_server.tool import AnyTool
from tailtrace_api.mcp_server.tools import Answer, Toolbox
from tailtrace_bridge.texts.catalogue import Texts

Context = ServerRequestContext[Any]
Caller = Callable[[Any], str | None]
"""Returns the login that a call is restricted to, of the HTTP request (None: no HTTP); raises `MCPError` to refuse."""
_READ_ONLY = ToolAnnotations(read_only_hint=True)


def make_server(  # noqa: C901 - one handler for each request of the protocol
    toolbox: Toolbox, lang: str, caller: Caller = lambda _request: None
) -> Server[Any]:
    """Make the server. One serves any number of connections."""
    tools, texts = [_tool_info(tool) for tool in toolbox.tools.values()], Texts("mcp", lang)

    async def list_tools(_context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools)

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        if params.name not in toolbox.tools:
            raise MCPError(INVALID_PARAMS, f"there is no such tool; there are {', '.join(toolbox.tools)}")
        # In a thread: a store blocks, and others are waiting.
        call = partial(_call, toolbox, caller, params, context.request)
        return _result(await anyio.to_thread.run_sync(call))

    async def list_prompts(_context: Context, _params: PaginatedRequestParams | None) -> ListPromptsResult:
        return ListPromptsResult(prompts=[PromptInfo(name=one.name, description=one.about) for one in PROMPTS])

    async def get_prompt(_context: Context, params: GetPromptRequestParams) -> GetPromptResult:
        for one in PROMPTS:
            if one.name == params.name:
                content = TextContent(type="text", text=texts(f"prompt.{one.name}"))
                return GetPromptResult(description=one.about, messages=[PromptMessage(role="user", content=content)])
        raise MCPError(INVALID_PARAMS, f"there is no such prompt; there are {', '.join(one.name for one in PROMPTS)}")

    async def list_resources(_context: Context, _params: PaginatedRequestParams | None) -> ListResourcesResult:
        page = Resource(
            uri=DEFINITIONS_URI,
            name="definitions",
            description="What each word in an answer means: session, active, uptime, error rate.",
            mime_type="text/markdown",
        )
        return ListResourcesResult(resources=[page])

    async def read_resource(_context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        if str(params.uri) != DEFINITIONS_URI:
            raise MCPError(INVALID_PARAMS, f"there is no such resource; there is {DEFINITIONS_URI}")
        page = TextResourceContents(uri=DEFINITIONS_URI, mime_type="text/markdown", text=definitions())
        return ReadResourceResult(contents=[page])

    return Server(
        "tailtrace",
        version=version("tailtrace"),
        title="tailtrace",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def _call(toolbox: Toolbox, caller: Caller, params: CallToolRequestParams, request: Any) -> Answer:
    return toolbox.call(params.name, params.arguments or {}, caller(request))


def _tool_info(tool: AnyTool) -> ToolInfo:
    return ToolInfo(
        name=tool.name,
        description=tool.about,
        input_schema=schema(tool.parameters),
        output_schema=output_schema(tool.output),
        annotations=_READ_ONLY,
    )


def _result(answer: Answer) -> CallToolResult:
    content = TextContent(type="text", text=answer.text)
    if answer.structured is None:
        return CallToolResult(content=[content], is_error=True)
    return CallToolResult(content=[content], structured_content=answer.structured)
