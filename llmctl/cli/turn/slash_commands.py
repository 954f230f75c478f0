"""The commands of the interactive chat: one table, from which help, completion and errors derive."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from llmctl.cli.atomic_write import require_writable_path, write_file
from llmctl.cli.console.prompts import edit_text
from llmctl.cli.listing_args import display_name, get_chat
from llmctl.cli.turn.interactive_chat import InteractiveChat, read_files
from llmctl.cli.turn.line_input import Candidate, format_mention, unescape_path
from llmctl.core import clock
from llmctl.core.answer_text import iterate_fenced_blocks
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.humanize import format_age, format_count, format_dollars, format_duration, pluralize
from llmctl.core.options import EFFORTS, TURN_OPTIONS, parse_text
from llmctl.core.registry import unknown_name_error
from llmctl.engine.connections import target
from llmctl.engine.turn.plan import UserInput
from llmctl.store.completion_candidates import find_candidates
from llmctl.store.records import chat_summaries, chats, requests
from llmctl.store.records.settings import list_changed

#: Suffix of a file -> format of `export`, for `/save`.
_FORMATS = {".md": "markdown", ".html": "html", ".jsonl": "jsonl", ".csv": "csv"}
_LISTED_CHATS = 10
_FOUND_MESSAGES = 50
_EFFORT_WORDS = (*EFFORTS, "show", "hide")
#: Where the descriptions stand in the help, on terminals that are wide enough.
_HELP_INDENT, _WIDE = 32, 70
#: The word that empties what a command sets.
_NOTHING = "none"


class Leave(Exception):
    """The user leaves the chat."""


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A command: ``run`` gets what stands behind its name."""

    name: str
    arguments: str
    help: str
    run: Callable[[InteractiveChat, str], None]
    #: What its argument is: a kind of record, ``path`` or ``command``, or the words to choose from.
    completes: str | tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


def run_command(session: InteractiveChat, line: str) -> None:
    """Run a line such as ``/model sonnet``. Raises UsageError with near names for an unknown command, and Leave."""
    name, _, rest = line[1:].partition(" ")
    command = get_command(name)
    if rest.strip() == "--help":
        _describe(session, command)
    else:
        command.run(session, rest.strip())


def get_command(name: str) -> SlashCommand:
    """Return a command; raise UsageError with near names if there is none of that name."""
    found = COMMANDS.get(name)
    if found is None:
        error = unknown_name_error("command", f"/{name}", (f"/{known}" for known in COMMANDS))
        lead = error.hint if error.hint and error.hint.startswith("did you mean") else "list the commands: /help"
        error.hint = f"{lead}; start a message with // to send a slash"
        raise error
    return found


def complete(session: InteractiveChat, text: str) -> Iterator[Candidate]:
    """Yield the completions of a text that ends at the cursor: commands, their arguments, and ``@path``."""
    if mention := re.search(r'(?<!\S)@("[^"]*|(?:\\.|[^\s\\"])*)$', text):
        yield from _complete_path(mention[1], is_mention=True)
    elif re.fullmatch(r"/\w*", text):
        for command in COMMANDS.values():
            if command.name.startswith(text[1:]):
                yield Candidate(f"/{command.name}{' ' if command.arguments else ''}", len(text), command.help)
    elif match := re.fullmatch(r"/(\w+) (?:.* )?(\S*)", text):
        command_found = COMMANDS.get(match[1])
        yield from _complete_argument(session, command_found.completes if command_found else (), match[2])
    elif text.startswith("!"):
        yield from _complete_path(text.rpartition(" ")[2], is_mention=False)


def _complete_argument(session: InteractiveChat, kind: str | tuple[str, ...], word: str) -> Iterator[Candidate]:
    if isinstance(kind, tuple):
        found: Iterable[tuple[str, str]] = ((choice, "") for choice in kind if choice.startswith(word))
    elif kind == "path":
        yield from _complete_path(word, is_mention=False)
        return
    elif kind == "command":
        found = ((name, entry.help) for name, entry in COMMANDS.items() if name.startswith(word))
    else:
        found = find_candidates(session.app.hub_path, kind, word)
    for value, description in found:
        yield Candidate(value, len(word), description)


def _complete_path(word: str, *, is_mention: bool) -> Iterator[Candidate]:
    """Yield files and folders; a folder ends with a slash, so that Tab goes on inside it."""
    typed = word[1:] if word.startswith('"') else unescape_path(word)
    folder, prefix = os.path.split(typed)
    try:
        names = sorted(os.listdir(os.path.expanduser(folder) or "."))
    except OSError:
        return
    for name in names:
        if name.startswith(prefix) and (not name.startswith(".") or prefix.startswith(".")):
            path = os.path.join(folder, name)
            is_folder = os.path.isdir(os.path.expanduser(path))
            path = f"{path}/" if is_folder else path
            shown = format_mention(path)[1:] if is_mention else re.sub(r"([\s\\])", r"\\\1", path)
            yield Candidate(shown, len(word), "folder" if is_folder else "")


# --- the commands, in the order of the help


def _show_help(session: InteractiveChat, name: str) -> None:
    if name:
        _describe(session, get_command(name.removeprefix("/")))
        return
    _describe(session, *COMMANDS.values())
    session.show(
        (
            "",
            "@PATH attaches a file or a folder. !COMMAND runs a command; its output joins the next message.",
            "Enter sends. Alt-Enter, or \\ at the end of a line, begins another line. // sends a slash.",
            "Tab completes. Ctrl-R searches your messages. Ctrl-X Ctrl-E opens $EDITOR. Ctrl-D leaves.",
        )
    )


def _describe(session: InteractiveChat, *commands: SlashCommand) -> None:
    is_wide = session.width >= _WIDE
    padding = _HELP_INDENT - 4 if is_wide else 0
    session.show((f"{entry.usage:{padding}}  {entry.help}" for entry in commands), _HELP_INDENT if is_wide else 6)


def _change_model(session: InteractiveChat, ref: str) -> None:
    if ref:
        resolved = target.resolve(session.database, ref, session.app.env)
        session.command.change_options(model=ref, connection=None)
        session.note(f"now using {resolved.model} ({resolved.connection or resolved.provider.name})")
    else:
        plan = session.command.build_plan(session.database, UserInput(), session.chat)
        session.note(f"{plan.target.model} ({plan.target.connection or plan.target.provider.name})")


def _change_system_prompt(session: InteractiveChat, text: str) -> None:
    if text:
        session.system = text
        session.note("the next message will use this system prompt")
    else:
        known = session.system or (session.chat.instructions if session.chat else None)
        session.show((known or "no system prompt").splitlines())


def _attach(session: InteractiveChat, words: str) -> None:
    if words == _NOTHING:
        session.files, session.outputs = [], []
    for word in _split_words(words) if words != _NOTHING else ():
        session.files += read_files(os.path.expanduser(word))
    waiting = [file.name or file.url or "a file" for file in session.files]
    waiting += [output.partition("\n")[0] for output in session.outputs]
    session.show(f"with the next message: {name}" for name in waiting)
    if not waiting:
        session.note("nothing is attached to the next message")


def _split_words(text: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"cannot read the paths: {error}", hint='put a path with spaces in quotes: "my file.txt"'
        ) from None


def _change_tools(session: InteractiveChat, words: str) -> None:
    from llmctl.engine.tools.toolset import parse_grant, resolve_grants

    if words == _NOTHING:
        session.command.change_options(tools=())
    elif words:
        names = tuple(words.replace(",", " ").split())
        resolve_grants(session.app.hub("write"), dict(map(parse_grant, names)))
        session.command.change_options(tools=(*session.command.options.tools, *names))
    plan = session.command.build_plan(session.database, UserInput(), session.chat)
    session.show(f"{grant.tool.name}: {grant.permission}" for grant in plan.tools.grants)
    if not plan.tools.grants:
        session.note("no tools are offered; offer one: /tools time")


def _approve(session: InteractiveChat, ref: str) -> None:
    """Approve calls of this chat that wait, by id or tool, and go on; or run a tool without asking from now on."""
    from llmctl.engine.tools import approvals, toolset
    from llmctl.store.records import invocations

    database = session.app.hub("write")
    chat_id = session.chat.id if session.chat else None
    rows = [invocations.get(database, row["id"]) for row in approvals.list_pending(database)]
    own = [row for row in rows if chat_id and approvals.root_chat_of_call(database, row) == chat_id]
    if not ref:
        session.show(f"{row.id[:8]} {row.name} {row.arguments}" for row in own)
        session.note(f"approve them: /approve {own[0].name}" if own else "no tool call waits")
        return
    wanted = [row for row in own if ref == row.name or (len(ref) >= 4 and row.id.startswith(ref))]
    if not wanted:
        toolset.get_tool(database, ref)
        session.command.change_options(approve=(*session.command.options.approve, ref))
        session.note(f'"{ref}" runs without asking while this chat is open')
        return
    for row in wanted:
        approvals.approve(database, row, session.app.env)
        session.note(f"approved {row.name} {row.id[:8]}")
    session.run_turn(UserInput())


def _change_thinking(session: InteractiveChat, word: str) -> None:
    if word in ("show", "hide"):
        session.command.change_options(show_thinking=word == "show")
    elif word:
        session.command.change_options(thinking=parse_text(TURN_OPTIONS["thinking"], word, "thinking"))
    options = session.command.options
    shown = "shown" if options.show_thinking else "not shown"
    session.note(f"thinking: {options.thinking or 'as the model does by default'}, {shown}")


def _change_schema(session: InteractiveChat, text: str) -> None:
    from llmctl.engine.turn.plan import load_schema

    if text:
        schema = None if text == _NOTHING else text
        load_schema(schema)
        session.command.change_options(schema=schema)
    current = session.command.options.schema
    session.note(f"answers must match the schema: {current}" if current else "answers need not match a schema")


def _continue_turn(session: InteractiveChat, _: str) -> None:
    session.run_turn(UserInput())


def _retry(session: InteractiveChat, _: str) -> None:
    session.retry()


def _undo(session: InteractiveChat, _: str) -> None:
    before = session.require_chat().id[:8]
    session.undo()
    session.note(f"forked before your last message; /retry sends it again; the original is chat {before}")


def _edit(session: InteractiveChat, word: str) -> None:
    """Write a message in the user's editor, or change the last one and send that in a fork."""
    if word not in ("", "last"):
        raise UsageError(f'/edit takes nothing or "last", got "{word}"', hint="change your last message: /edit last")
    if not session.app.console.io.stdin_tty:
        raise UsageError("/edit needs a terminal")
    if word == "last" and session.undone is None:
        last = chats.find_last_user_message(session.database, session.require_chat().id)
        before = chats.to_message(last).text if last else ""
    else:
        before = session.undone.text if session.undone and word == "last" else ""
    text = edit_text(session.app.console, before, ".md").strip("\n")
    if not text.strip() or (word == "last" and text == before):
        session.note("nothing is sent: the text is the same" if text.strip() else "nothing is sent: the text is empty")
    elif word == "last":
        if session.undone is None:
            session.undo()
        session.resend(text)
    else:
        session.send(text)


def _keep(session: InteractiveChat, ref: str) -> None:
    """Go on with the answer of one of the models that were asked at once."""
    from llmctl.engine.chats import comparison

    database, chat = session.app.hub("write"), session.require_chat()
    branches = comparison.list_branches(database, chat)
    if not branches:
        raise UsageError("there is one answer only", hint="ask several models: llmctl chat -m sonnet -m gpt -i")
    kept = comparison.keep_branch(database, comparison.find_branch(database, branches, ref), branches)
    session.command.leave_chat(None)
    session.chat = kept
    session.note(f"now using {comparison.format_branch(database, kept)}")


def _fork(session: InteractiveChat, name: str) -> None:
    from llmctl.engine.chats.fork import fork_chat

    chat = session.require_chat()
    copy = fork_chat(session.app.hub("write"), chat, name=name or None, caller=session.app.caller_info())
    session.command.leave_chat(None)
    session.chat = copy
    session.note(f'forked "{display_name(chat)}"; this is now "{display_name(copy)}"')


def _rename(session: InteractiveChat, name: str) -> None:
    if not name:
        raise UsageError("/rename needs a name", hint="such as: /rename fix-42")
    chat = session.require_chat()
    chats.update(session.app.hub("write"), chat, {"name": name})
    session.chat = chats.get(session.database, chat.id)
    session.note(f'renamed to "{name}"')


def _show_chat(session: InteractiveChat, _: str) -> None:
    chat = session.require_chat()
    session.note(f"{chat.id}{' ' + chat.name if chat.name else ''}")


def _open_chat(session: InteractiveChat, ref: str) -> None:
    if ref:
        session.switch_to(get_chat(session.app, ref))
        return
    current = session.chat.id if session.chat else None
    listed: list[str] = []
    for row in chat_summaries.list_(session.database, chat_summaries.ChatFilter(branches=False), _LISTED_CHATS):
        listed.append(row["name"] or row["id"][:8])
        mark = "*" if row["id"] == current else " "
        age = format_age(row["last_turn_at"] or row["created_at"])
        session.show([f"{mark} {row['id'][:8]}  {row['title']}  {age}"])
    if listed:
        session.note(f"go on in one of them, such as: /chats {listed[-1]}")


def _find(session: InteractiveChat, words: str) -> None:
    from llmctl.store import search

    seen: list[str] = []
    for row in search.search(session.database, words, search.SearchFilter(), _FOUND_MESSAGES):
        if row["chat_id"] and row["chat_id"] not in seen:
            seen.append(row["chat_id"])
            snippet = " ".join(
                row["snippet"].translate(dict.fromkeys(map(ord, "".join(search.HIGHLIGHT_MARKS)))).split()
            )
            session.show([f"{row['chat_id'][:8]}  {row['chat'] or ''}  {snippet}"])
    if seen:
        session.note(f"go on in one of them, such as: /chats {seen[0][:8]}")
    else:
        session.note(f'nothing found for "{words}"')


def _copy(session: InteractiveChat, word: str) -> None:
    from llmctl.cli.console.clipboard import copy_text

    if word == "code":
        text = _get_block(session, 1)
    else:
        text = _get_answer(session, _parse_number("/copy", word) if word else 1)
    copy_text(session.app.console.io, session.app.env, text)
    session.note(f"copied {pluralize(len(text.split()), 'word')}")


def _show_code(session: InteractiveChat, words: str) -> None:
    match = re.fullmatch(r"(\d*)\s*(?:>\s*(.+))?", words)
    if match is None:
        raise UsageError(f'/code takes a number and a file, got "{words}"', hint="such as: /code 2 > fix.py")
    text = _get_block(session, _parse_number("/code", match[1]) if match[1] else 1)
    if match[2]:
        path = os.path.expanduser(match[2].strip().strip("\"'"))
        require_writable_path(path)
        write_file(path, text if text.endswith("\n") else f"{text}\n")
        session.note(f'wrote {pluralize(len(text.splitlines()), "line")} to "{path}"')
    else:
        session.show_text(text)


def _get_answer(session: InteractiveChat, number: int) -> str:
    """Return an answer: 1 is the last one, 2 the one before it."""
    answers = session.list_answers()
    if number > len(answers):
        count = pluralize(len(answers), "answer") if answers else "no answer yet"
        raise NotFoundError(f'this chat has {count}, got "{number}"')
    return answers[-number]


def _get_block(session: InteractiveChat, number: int) -> str:
    """Return a code block of the last answer: 1 is its first."""
    blocks = list(iterate_fenced_blocks(_get_answer(session, 1)))
    if not blocks:
        raise NotFoundError("the last answer has no code block")
    if number > len(blocks):
        raise NotFoundError(f'the last answer has {pluralize(len(blocks), "code block")}, got "{number}"')
    return blocks[number - 1]


def _parse_number(command: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f'{command} takes a number from 1, got "{text}"', hint=f"see: {command} --help")
    return int(text)


def _save(session: InteractiveChat, path: str) -> None:
    from llmctl.engine.transfer import export

    suffix = os.path.splitext(path)[1].lower()
    if not path or suffix not in _FORMATS:
        raise UsageError(
            f'/save needs a file that ends in {" ".join(_FORMATS)}, got "{path}"', hint="such as: /save chat.md"
        )
    path = os.path.expanduser(path.strip("\"'"))
    require_writable_path(path)
    options = export.ExportOptions([session.require_chat().id], False, None, _FORMATS[suffix], False, False)
    selection = export.select_rows(session.database, options)
    write_file(path, export.stream_export(session.database, options, selection), private=True)
    session.note(f'saved this chat to "{path}"')


def _show_stats(session: InteractiveChat, _: str) -> None:
    from llmctl.store.stats import query

    numbers = query.chat_stats(session.database, session.require_chat().id)
    session.show(
        (
            f"requests       {format_count(numbers['requests'])}, {format_count(numbers['failed_requests'])} failed",
            f"input tokens   {format_count(numbers['input_tokens'])}",
            f"output tokens  {format_count(numbers['output_tokens'])}",
            f"cost           {format_dollars(numbers['cost'])}",
            f"time           {format_duration(numbers['duration_ms'])}",
        )
    )


def _show_cost(session: InteractiveChat, _: str) -> None:
    from llmctl.store.stats import query

    settings, now = list_changed(session.database), clock.now()
    if session.chat:
        session.show([f"this chat   {format_dollars(query.chat_stats(session.database, session.chat.id)['cost'])}"])
    for label, setting, since in (("today", "budget.day", now[:10]), ("this month", "budget.month", f"{now[:7]}-01")):
        spent, _reserved = requests.get_spending(session.database, f"{since}T00:00:00.000+00:00")
        limit = settings.get(setting)
        session.show([f"{label:11} {format_dollars(spent)}" + (f" of {format_dollars(limit)}" if limit else "")])


def _clear_screen(session: InteractiveChat, _: str) -> None:
    io = session.app.console.io
    if io.stdout_tty and session.app.env.get("TERM", "dumb") != "dumb":
        io.write("\x1b[2J\x1b[H")
        io.flush()


def _start_new(session: InteractiveChat, name: str) -> None:
    session.start_new(name or None)
    session.note("the next message begins a new chat" + (f' "{name}"' if name else ""))


def _leave(_session: InteractiveChat, _: str) -> None:
    raise Leave


_TABLE = (
    SlashCommand("help", "[COMMAND]", "show these commands", _show_help, "command"),
    SlashCommand("model", "[REF]", "show or change the model", _change_model, "model"),
    SlashCommand("system", "[TEXT]", "show or change the system prompt", _change_system_prompt),
    SlashCommand("attach", "[PATH...|none]", "attach files, folders or URLs to the next message", _attach, "path"),
    SlashCommand("tools", "[NAME[:PERM]|none]", "show the tools, or offer one", _change_tools, "tool"),
    SlashCommand("approve", "[ID|NAME]", "approve a waiting call, or a tool while this is open", _approve, "tool"),
    SlashCommand(
        "thinking",
        "[EFFORT|show|hide]",
        "set the effort, or show the thinking",
        _change_thinking,
        (*EFFORTS, "show", "hide"),
    ),
    SlashCommand("schema", "[FILE|DSL|none]", "require JSON that matches a schema", _change_schema, "path"),
    SlashCommand("continue", "", "finish what is unfinished", _continue_turn),
    SlashCommand("retry", "", "send your last message again, in a fork", _retry),
    SlashCommand("undo", "", "take your last message back, in a fork", _undo),
    SlashCommand("edit", "[last]", "write a message in $EDITOR, or change your last one", _edit, ("last",)),
    SlashCommand("keep", "MODEL", "go on with the answer of one of several models", _keep),
    SlashCommand("fork", "[NAME]", "go on in a copy of this chat", _fork),
    SlashCommand("rename", "NAME", "rename this chat", _rename),
    SlashCommand("chats", "[REF]", "list the newest chats, or go on in another", _open_chat, "chat"),
    SlashCommand("chat", "", "show the id and the name of this chat", _show_chat),
    SlashCommand("find", "WORDS", "search all chats", _find),
    SlashCommand("copy", "[N|code]", "copy the last answer, an earlier one, or its code", _copy, ("code",)),
    SlashCommand("code", "[N] [> FILE]", "show or write a code block of the last answer", _show_code, "path"),
    SlashCommand("save", "FILE", "save this chat as .md, .html, .jsonl or .csv", _save, "path"),
    SlashCommand("stats", "", "show tokens, cost and time of this chat", _show_stats),
    SlashCommand("cost", "", "show the cost of this chat, today and this month", _show_cost),
    SlashCommand("clear", "", "clear the screen", _clear_screen),
    SlashCommand("new", "[NAME]", "begin a new chat", _start_new),
    SlashCommand("exit", "", "leave (also: exit, quit, Ctrl-D)", _leave),
    SlashCommand("quit", "", "leave", _leave),
)
#: By name.
COMMANDS = {command.name: command for command in _TABLE}
