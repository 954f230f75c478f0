"""All commands as strings: names, helps, modules. Help and completion read this and import nothing.

``chats list`` is the function ``list_`` of ``llmctl/cli/commands/chats.py``: a command's name with ``-`` as ``_``,
and a trailing ``_`` where the plain name is Python's own (``list_``, ``set_``, ``help_``). The help here is the
first line of that function's docstring.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from keyword import iskeyword
from typing import NamedTuple

TALK = "Talk"
LOOK_BACK = "Look back"
SET_UP = "Set up"
MAINTAIN = "Maintain"
PLUMBING = "Plumbing"

#: In the order of the help; what stands under the last one appears in ``llmctl help --all`` only.
PANELS = (TALK, LOOK_BACK, SET_UP, MAINTAIN, PLUMBING)


class Entry(NamedTuple):
    """A command, or a group of them (``subcommands``: name to help; ``session new`` is below ``session``)."""

    panel: str
    help: str
    subcommands: Mapping[str, str] = {}


CATALOG: dict[str, Entry] = {
    "chat": Entry(TALK, "Talk to a model: one-shot, piped, continued or interactive"),
    "run": Entry(TALK, "Run a prompt file: a prompt with its model, options and schema in TOML"),
    "embed": Entry(TALK, "Turn texts into vectors"),
    "image": Entry(TALK, "Draw a picture, or change one"),
    "agent": Entry(
        TALK,
        "Manage agents and talk to them, in sessions that go on",
        {
            "create": "Make an agent",
            "apply": "Bring agents into the hub as their files say",
            "list": "List agents",
            "show": "Show an agent",
            "edit": "Change an agent; its sessions go on with what it is then",
            "remove": "Remove an agent; its sessions keep their history",
            "attach": "Let an agent use tools, or change how freely it may",
            "detach": "Take tools from an agent",
            "run": "Talk to an agent, in a new session or in one that is gone on with",
            "sessions": "List sessions, the newest first",
            "session": "Begin, show, compare and delete sessions",
            "session new": "Begin a session of an agent, with what it should know",
            "session show": "Show a session",
            "session diff": "Show what changed in an agent's definition since the session's last turn",
            "session delete": "Delete a session with its chat and every copy of its text",
        },
    ),
    "chats": Entry(
        LOOK_BACK,
        "Manage conversations",
        {
            "list": "List conversations, the newest first",
            "show": "Show a conversation",
            "new": "Begin a conversation without asking anything",
            "edit": "Change what a conversation keeps: model, options, description, metadata",
            "search": "Find messages by their words",
            "rename": "Give a conversation another name",
            "fork": "Copy a conversation up to a message, to go on differently",
            "render": "Write out a whole thread; keep, list and compare snapshots of it",
            "unlock": "Free a conversation that a dead process holds",
            "delete": "Delete a conversation and every copy of its text",
        },
    ),
    "stats": Entry(LOOK_BACK, "Show tokens, cost, latency and errors, of a chat or of everything"),
    "report": Entry(LOOK_BACK, "Draw a dashboard: cost, tokens, latency, errors, tools and chats, as one HTML file"),
    "request": Entry(
        LOOK_BACK,
        "Look into the ledger of requests",
        {
            "list": "List requests, the newest first",
            "show": "Show a request, its HTTP attempts and what was streamed",
            "curl": "Print a request as a curl command, without its key",
            "replay": "Send a request again",
        },
    ),
    "job": Entry(
        LOOK_BACK,
        "Look after tracked work",
        {
            "list": "List jobs, the newest first",
            "show": "Show a job",
            "log": "Print the log of a job",
            "run": "Run a command as a job: with a log, an exit code and a place in the hub",
            "wait": "Wait for a job to end, and leave with its exit code",
            "cancel": "End a job: what runs is asked to end, and what it did so far is kept",
            "retry": "Run a command that ended once more, or go on with the chat of a turn that broke off",
            "recover": "Finish the turns of processes that died",
        },
    ),
    "export": Entry(LOOK_BACK, "Write out conversations, or the whole hub"),
    "import": Entry(LOOK_BACK, "Take in conversations: of another hub, llm, ChatGPT, Claude, @node-llm/orm or OpenAI"),
    "tool": Entry(
        SET_UP,
        "Manage tools and decide on their calls",
        {
            "add": "Add a tool",
            "list": "List tools",
            "show": "Show a tool, and the rules that are remembered of it",
            "edit": "Change a tool, or what is remembered of it",
            "remove": "Remove a tool. Its runs stay",
            "invoke": "Run a tool yourself, the same way a model does",
            "invocations": "List runs of tools, the newest first; with an id show that one",
            "pending": "List the calls that wait for your decision, the oldest first",
            "approve": "Let a call run that waits: this tool with these arguments, nothing else",
            "deny": "Refuse a call that waits. The model is told, and goes on without it",
        },
    ),
    "init": Entry(SET_UP, "Make or upgrade the hub and find connections"),
    "connection": Entry(
        SET_UP,
        "Manage connections to models",
        {
            "add": "Add a connection",
            "list": "List connections",
            "show": "Show a connection",
            "edit": "Change a connection",
            "remove": "Remove a connection",
            "test": "Ask a connection whether it works",
            "models": "List the models that a connection offers",
            "default": "Show or choose the connection that is used when none is named",
        },
    ),
    "model": Entry(
        SET_UP,
        "Look up models, what they cost, and names of your own for them",
        {
            "list": "List models with what they take, can do and cost",
            "show": "Show what is known of a model",
            "price": "Show what a model cost and costs, or set it",
            "reprice": "Tell again what requests cost that nobody could price",
            "alias": "Give a model a name of your own, with options; list and remove such names",
        },
    ),
    "settings": Entry(
        SET_UP,
        "Read and change settings",
        {
            "list": "List settings with their values",
            "get": "Print the value of a setting",
            "set": "Change a setting",
            "unset": "Give a setting its built-in value again",
        },
    ),
    "completion": Entry(SET_UP, "Print the completion script of a shell"),
    "help": Entry(SET_UP, "Show help on a command or a topic"),
    "doctor": Entry(MAINTAIN, "Find out what is wrong and how to mend it"),
    "db": Entry(
        MAINTAIN,
        "Look after the hub's file",
        {
            "path": "Print where the hub is",
            "status": "Show the hub's size, version and counts",
            "migrate": "Upgrade the hub to this version's schema",
            "check": "Check the hub's integrity",
            "backup": "Copy the hub to another file, while it is in use",
            "restore": "Put a backup in the hub's place",
            "prune": "Take old text out of the hub; the ledger's numbers stay",
            "vacuum": "Give unused space back to the file system",
            "scrub": "Replace a secret everywhere in the hub",
            "query": "Run read-only SQL",
        },
    ),
    "schema": Entry(
        MAINTAIN,
        "Show, emit and check the hub's schema",
        {
            "show": "Print the tables and columns of the hub",
            "emit": "Print the schema for another tool: Prisma, SQL, Drizzle, TypeORM, TypeScript, JSON Schema",
            "check": "Compare a hub with the schema",
        },
    ),
    "thread": Entry(
        PLUMBING,
        "Look at threads, what stands behind chats",
        {
            "list": "List threads",
            "show": "Show everything in a thread, in order",
            "unlock": "Free a thread that a dead process holds",
        },
    ),
    "message": Entry(
        PLUMBING,
        "Look at single messages and add some",
        {
            "list": "List messages",
            "show": "Show a message",
            "add": "Add a message to a conversation without asking a model",
        },
    ),
    "metric": Entry(
        PLUMBING,
        "Keep numbers over time and look at them",
        {
            "add": "Keep a number that was measured",
            "list": "List metrics, the newest first",
            "query": "Aggregate a metric over time and dimensions",
            "export": "Print metrics as OpenMetrics text, for Prometheus and its kin",
        },
    ),
    "log": Entry(
        PLUMBING,
        "Keep text that grows and look at it",
        {
            "add": "Write a log, or go on with one",
            "list": "List logs, the newest first",
            "show": "Print a log",
            "tail": "Print the end of a log",
        },
    ),
    "ref": Entry(
        PLUMBING,
        "Let records point to others",
        {
            "set": "Let a record point to others",
            "unset": "Remove references of a record",
            "list": "List what a record points to, and what points to it",
        },
    ),
}


def target(path: tuple[str, ...]) -> tuple[str, str]:
    """Return the module and the function behind a command such as ``("chats", "list")``.

    ``agent session new`` is ``new`` of ``agent_session.py``.
    """
    name = path[-1].replace("-", "_")
    own = iskeyword(name) or hasattr(builtins, name)
    module = "_".join(path[:-1] or path)
    module = f"{module}_" if iskeyword(module) else module
    return f"llmctl.cli.commands.{module}", f"{name}_" if own else name


def below(path: tuple[str, ...]) -> dict[str, str]:
    """Return the words that may follow a group (the root is the empty path), with their helps."""
    if not path:
        return {name: entry.help for name, entry in CATALOG.items()}
    lead = "".join(f"{word} " for word in path[1:])
    found = CATALOG[path[0]].subcommands.items()
    return {
        name.removeprefix(lead): text
        for name, text in found
        if name.startswith(lead) and " " not in name.removeprefix(lead)
    }


def is_group(path: tuple[str, ...]) -> bool:
    """Tell whether a path needs a further word; ``agent session`` is one where ``agent session new`` is a command."""
    return path[0] in CATALOG and bool(below(path))


def leaves() -> list[tuple[str, ...]]:
    """Return the path of every command that can be run, in the catalogue's order."""
    paths = [(name, *sub.split()) for name, entry in CATALOG.items() for sub in entry.subcommands or [""]]
    return [path for path in paths if (len(path) > 1 and not is_group(path)) or not CATALOG[path[0]].subcommands]
