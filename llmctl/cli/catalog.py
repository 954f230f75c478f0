"""All commands as strings: names, help lines, modules. Help and completion read this and import nothing.

The path is the command line: ``chats list`` is the function ``list_`` of the module ``commands/chats/list.py``, or of
``commands/chats`` itself where a verb has no module of its own, as ``job list`` is in ``commands/job.py``. A ``-``
becomes ``_``; a module whose name is a keyword and a function whose name is a keyword or a builtin end in ``_``
(``import_.py``, ``set_``). The help here is the first line of that function's docstring.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from keyword import iskeyword

from llmctl.core.values import Value

CORE = "Core commands"
HISTORY = "History and usage"
SETUP = "Setup"
MAINTENANCE = "Maintenance"
PLUMBING = "Low-level commands"

#: In the order of the help; the last panel appears only in ``llmctl help --all``.
PANELS = (CORE, HISTORY, SETUP, MAINTENANCE, PLUMBING)


class CatalogEntry(Value):
    """A command, or a group with its subcommands (name to help; ``session new`` is below ``session``)."""

    panel: str
    help: str
    subcommands: Mapping[str, str] = {}
    #: The subcommand that runs where none is named.
    default: str | None = None


CATALOG: dict[str, CatalogEntry] = {
    "chat": CatalogEntry(CORE, "Chat with a model: one-shot, piped, continued or interactive"),
    "run": CatalogEntry(CORE, "Run a prompt file: a prompt with its model, options and schema in TOML"),
    "prompts": CatalogEntry(
        CORE,
        "Manage prompt files, which run and chat -t find by name",
        {
            "list": "List prompt files that run and -t find by name",
            "show": "Print a prompt file",
            "edit": "Edit a prompt file in $VISUAL or $EDITOR, or begin a new one",
            "save": "Save a prompt file under a name: a file, standard input, or what a chat began with",
            "path": "Print the path of a prompt file, or of the folder of your own",
        },
    ),
    "map": CatalogEntry(CORE, "Send a prompt for every row of a table, in parallel"),
    "embed": CatalogEntry(CORE, "Embed texts as vectors"),
    "image": CatalogEntry(CORE, "Generate or edit an image"),
    "batch": CatalogEntry(
        CORE,
        "Answer many requests within a day, at half price",
        {
            "run": "Answer the lines of a file in OpenAI's batch format, by any provider",
            "list": "List batches, newest first",
            "show": "Show a batch as the hub has it; batch fetch asks the provider",
            "wait": "Wait for the batches of a job and take in their results",
            "fetch": "Take in the results of batches that have ended, without waiting",
            "cancel": "Ask the provider to end the batches of a job",
        },
    ),
    "agent": CatalogEntry(
        CORE,
        "Manage agents and chat with them in persistent sessions",
        {
            "create": "Create an agent",
            "apply": "Create or update agents from files",
            "list": "List agents",
            "show": "Show an agent",
            "edit": "Edit an agent; its sessions use the new definition",
            "remove": "Remove an agent; its sessions keep their history",
            "attach": "Attach tools to an agent, or change their permission",
            "detach": "Detach tools from an agent",
            "run": "Talk to an agent, in a new or an existing session",
            "sessions": "List agent sessions, newest first",
            "session": "Create, show, compare and delete sessions",
            "session new": "Create a session of an agent, with metadata for its instructions",
            "session show": "Show a session",
            "session diff": "Show how an agent's definition changed since the session's last turn",
            "session delete": "Delete a session, its chat and every copy of the text",
        },
    ),
    "chats": CatalogEntry(
        HISTORY,
        "Manage conversations",
        {
            "list": "List conversations, newest first",
            "pick": "Find a conversation by title and text, and continue it",
            "show": "Show a conversation",
            "new": "Create a conversation without calling a model",
            "edit": "Edit a conversation: its name, model or agent, options, tools, metadata",
            "search": "Search messages by their words",
            "rename": "Rename a conversation",
            "fork": "Copy a conversation up to a message, to continue it differently",
            "render": "Print a whole thread; save, list and compare snapshots of it",
            "unlock": "Unlock a conversation held by a dead process",
            "delete": "Delete conversations and every copy of their text",
        },
    ),
    "proxy": CatalogEntry(
        CORE,
        "Record what other programs send to models",
        {
            "run": "Serve the proxy, for one command or until Ctrl-C",
            "env": "Print the variables with which programs use a running proxy",
            "status": "Show running proxies and what they have recorded",
            "app": "Manage the programs that may use the proxy, and what they may cost",
            "app add": "Add an app: a name for a program, with its limits",
            "app list": "List apps with what they have cost",
            "app edit": "Change an app",
            "app remove": "Remove an app; what it recorded is kept",
        },
        default="run",
    ),
    "stats": CatalogEntry(HISTORY, "Show tokens, cost, latency and errors, for one chat or in total"),
    "report": CatalogEntry(HISTORY, "Write an HTML dashboard of cost, tokens, latency, errors, tools and chats"),
    "request": CatalogEntry(
        HISTORY,
        "Inspect and replay requests",
        {
            "list": "List requests, newest first",
            "show": "Show a request, its HTTP attempts and its stream",
            "curl": "Print a request as a curl command, without the API key",
            "replay": "Send a request again",
        },
    ),
    "cache": CatalogEntry(
        HISTORY,
        "Inspect and clear stored answers that equal requests may use",
        {
            "status": "Show how many answers can be used again, and what that has saved",
            "explain": "Explain why a request was or was not answered from the cache",
            "clear": "Forget the answers, so that equal requests are sent again",
        },
    ),
    "job": CatalogEntry(
        HISTORY,
        "Run and manage background jobs",
        {
            "list": "List jobs, newest first",
            "show": "Show a job",
            "log": "Print the log of a job",
            "run": "Run a command as a job, with its log and exit code kept in the hub",
            "wait": "Wait for a job to end and exit with its exit code",
            "cancel": "Cancel a job; what it has done so far is kept",
            "retry": "Run a finished command again, or continue the chat of an interrupted turn",
            "delete": "Delete maps with their rows and every copy of the text",
            "recover": "Recover the jobs of processes that died, and what was left unfinished without a job",
        },
    ),
    "export": CatalogEntry(HISTORY, "Export conversations or the whole hub"),
    "import": CatalogEntry(
        HISTORY, "Import conversations from another hub, llm, ChatGPT, Claude, @node-llm/orm or OpenAI"
    ),
    "tool": CatalogEntry(
        SETUP,
        "Manage tools and approve or deny their calls",
        {
            "add": "Add a tool",
            "list": "List tools",
            "show": "Show a tool and its permission rules",
            "edit": "Edit a tool or its permission rules",
            "refresh": "Update the tools of an MCP server to those it offers now",
            "remove": "Remove a tool, or all tools of an MCP server; their invocations are kept",
            "trust": "Trust tools that came with an import or a hub of someone else",
            "invoke": "Run a tool the way a model does",
            "invocations": "List tool invocations, newest first, or show one",
            "pending": "List the calls that await approval, oldest first",
            "approve": "Approve a pending call: this tool with these arguments, nothing else",
            "deny": "Deny a pending call; the model is informed and continues without it",
        },
    ),
    "mcp": CatalogEntry(
        SETUP,
        "Offer the history of a project to agents, over MCP",
        {
            "serve": "Serve history, usage, models and prompt files over MCP",
            "install": "Add the server to an agent: claude, codex, gemini, cursor or vscode",
        },
    ),
    "init": CatalogEntry(SETUP, "Create or upgrade the hub and discover connections"),
    "connection": CatalogEntry(
        SETUP,
        "Manage connections to models",
        {
            "add": "Add a connection",
            "list": "List connections",
            "show": "Show a connection",
            "edit": "Edit a connection",
            "remove": "Remove a connection",
            "test": "Test whether a connection works",
            "models": "List the models a connection offers",
            "default": "Show or set the default connection",
            "trust": "Trust connections that came with an import or a hub of someone else",
        },
    ),
    "model": CatalogEntry(
        SETUP,
        "Look up models and prices, and define aliases",
        {
            "list": "List models with their limits, capabilities and prices",
            "show": "Show a model's limits, capabilities and price",
            "price": "Show a model's price history, or set a price",
            "reprice": "Recalculate the cost of unpriced requests",
            "alias": "Add, list and remove aliases for models",
        },
    ),
    "settings": CatalogEntry(
        SETUP,
        "Read and change settings",
        {
            "list": "List settings and their values",
            "get": "Print the value of a setting",
            "set": "Change a setting",
            "unset": "Reset a setting to its default",
        },
    ),
    "completion": CatalogEntry(SETUP, "Print the completion script of a shell"),
    "help": CatalogEntry(SETUP, "Show help on a command or a topic"),
    "doctor": CatalogEntry(MAINTENANCE, "Diagnose problems and suggest fixes"),
    "db": CatalogEntry(
        MAINTENANCE,
        "Maintain the hub file",
        {
            "path": "Print the path of the hub",
            "status": "Show the hub's size, version and counts",
            "migrate": "Upgrade the hub to the current schema",
            "check": "Check the hub's integrity",
            "backup": "Copy the hub to another file, even while it is in use",
            "restore": "Restore the hub from a backup",
            "prune": "Remove old text from the hub; usage numbers are kept",
            "vacuum": "Return unused space to the file system",
            "scrub": "Remove a secret from everywhere in the hub",
            "query": "Run read-only SQL",
        },
    ),
    "schema": CatalogEntry(
        MAINTENANCE,
        "Show, emit and check the hub's schema",
        {
            "show": "Print the tables and columns of the hub",
            "emit": "Print the schema for another tool: Prisma, SQL, Drizzle, TypeORM, TypeScript, JSON Schema",
            "check": "Compare a hub with the schema",
        },
    ),
    "thread": CatalogEntry(
        PLUMBING,
        "Inspect the threads behind chats",
        {
            "list": "List threads",
            "show": "Show every message of a thread, in order",
            "unlock": "Unlock a thread held by a dead process",
        },
    ),
    "message": CatalogEntry(
        PLUMBING,
        "Inspect and add single messages",
        {
            "list": "List messages",
            "show": "Show a message",
            "add": "Add a message to a conversation without calling a model",
        },
    ),
    "metric": CatalogEntry(
        PLUMBING,
        "Record numbers over time and query them",
        {
            "add": "Record a measured value",
            "list": "List metric values, newest first",
            "query": "Aggregate a metric over time and dimensions",
            "export": "Print metrics in OpenMetrics format, for Prometheus",
        },
    ),
    "log": CatalogEntry(
        PLUMBING,
        "Write and read append-only text logs",
        {
            "add": "Write a new log, or append to one",
            "list": "List logs, newest first",
            "show": "Print a log",
            "tail": "Print the end of a log",
        },
    ),
    "ref": CatalogEntry(
        PLUMBING,
        "Manage references between records",
        {
            "set": "Add references from a record to others",
            "unset": "Remove references from a record",
            "list": "List references from and to a record",
        },
    ),
}


def locate_function(path: tuple[str, ...]) -> tuple[str, str]:
    """Return the module and the function of a command: of all modules on its path, the deepest one there is."""
    words = [word.replace("-", "_") for word in path]
    module = "llmctl.cli.commands"
    for word in words:
        name = f"{module}.{word}_" if iskeyword(word) else f"{module}.{word}"
        if len(words) > 1 and not _is_module(module, name):
            break
        module = name
    is_reserved = iskeyword(words[-1]) or hasattr(builtins, words[-1])
    return module, f"{words[-1]}_" if is_reserved else words[-1]


def _is_module(package: str, name: str) -> bool:
    return hasattr(import_module(package), "__path__") and find_spec(name) is not None


def subcommands(path: tuple[str, ...]) -> dict[str, str]:
    """Return the subcommands of a group (the root is the empty path) with their help."""
    if not path:
        return {name: entry.help for name, entry in CATALOG.items()}
    prefix = "".join(f"{word} " for word in path[1:])
    commands = CATALOG[path[0]].subcommands.items()
    return {
        name.removeprefix(prefix): text
        for name, text in commands
        if name.startswith(prefix) and " " not in name.removeprefix(prefix)
    }


#: Flags that may precede a subcommand, and how many words they take.
_GLOBAL_FLAGS = {"--db": 2, "--quiet": 1, "--debug": 1}


def insert_default(path: tuple[str, ...], arguments: list[str]) -> list[str]:
    """Return the arguments of a group with its default subcommand, where there are only flags of that one."""
    default = CATALOG[path[0]].default if len(path) == 1 else None
    if default is None:
        return arguments
    place = 0
    while place < len(arguments) and arguments[place] in _GLOBAL_FLAGS:
        place += _GLOBAL_FLAGS[arguments[place]]
    rest = arguments[place:]
    if rest and (not rest[0].startswith("-") or rest[0] in ("--help", "-h", "--version", "-V")):
        return arguments
    return [*arguments[:place], default, *rest]


def is_group(path: tuple[str, ...]) -> bool:
    """Return whether a path is a group: ``agent session`` is one, because of ``agent session new``."""
    return path[0] in CATALOG and bool(subcommands(path))


def command_paths() -> list[tuple[str, ...]]:
    """Return the path of every runnable command, in catalog order."""
    paths = [(name, *sub.split()) for name, entry in CATALOG.items() for sub in entry.subcommands or [""]]
    return [path for path in paths if (len(path) > 1 and not is_group(path)) or not CATALOG[path[0]].subcommands]
