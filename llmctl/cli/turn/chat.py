"""From the flags of ``chat`` to a turn, and from its events to the screen."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmctl.cli import files
from llmctl.cli.app import App
from llmctl.cli.console.terminal import ago
from llmctl.cli.turn import input, options
from llmctl.cli.turn import tools as turn_tools
from llmctl.cli.turn.input import Wishes
from llmctl.cli.turn.printer import Printer
from llmctl.core.errors import InvalidOutputError, LlmctlError, UsageError
from llmctl.core.signals import Signalled
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.chats import lookup
from llmctl.engine.connections import target
from llmctl.engine.turn import fallback, resume
from llmctl.engine.turn.options import Ask, Keep, inherited
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.result import Outcome
from llmctl.engine.turn.turn import Turn
from llmctl.store.database import Database, Row
from llmctl.store.records import threads
from llmctl.store.records.settings import chosen

if TYPE_CHECKING:
    from llmctl.cli.turn.agent import Agent
    from llmctl.cli.turn.prompt_files import PromptFile

#: Verbs of ``chats`` that a hurried user may type behind ``chat``.
_VERBS = ("list", "show", "new", "edit", "search", "rename", "fork", "render", "unlock", "delete")


class Conversation:
    """One run of ``chat``."""

    def __init__(self, app: App, wishes: Wishes) -> None:
        self._app = app
        self._file = _prompt_file(app, wishes)
        self._wishes = wishes._replace(no_log=wishes.no_log or bool(self._file and self._file.definition.no_log))
        self._check()
        self._origin = app.origin()
        self._outcome: Outcome | None = None
        self.system = input.system_of(self._wishes)

    def run(self) -> None:
        """Ask once, or keep the conversation open."""
        if self._app.asking["detach"]:
            self._detach()
            return
        ask = input.ask(self._app, self._wishes, self._file, self.system)
        self.system = ask.system
        if not self._says_something(ask) and not (self._goes_on and self._is_unfinished()):
            self._open()
            return
        if self._app.asking["dry_run"]:
            self._preview(ask)
            return
        self.turn(ask)
        if self._wishes.interactive:
            self._open()

    def _detach(self) -> None:
        wishes = self._wishes
        if wishes.no_log or wishes.interactive:
            flag = "--no-log" if wishes.no_log else "--interactive"
            raise UsageError(f'"--detach" and "{flag}" exclude each other')
        if not wishes.words and not self._goes_on and self._app.io.stdin_tty:
            raise UsageError("nothing to ask", hint="say it: llmctl chat --detach PROMPT")
        from llmctl.cli import working

        working.detach_self(self._app, wishes.name or "chat")

    def turn(self, ask: Ask, chat: Row | None = None) -> Outcome:
        """Run one turn and show it; return what it came to. ``--fallback`` takes over where nothing was answered."""
        database = self._app.hub("create")
        plan = self.plan(database, ask, chat)
        printer = Printer(self._app, new_messages=bool(self._wishes.messages), has_tools=bool(plan.tools))
        plan = replace(plan, on_idle=printer.flush)
        for other in [target.resolve(database, ref, self._app.env) for ref in self._app.asking["fallback"]]:
            turn = Turn(database, plan)
            try:
                return self._shown(turn, printer, is_last=False)
            except LlmctlError as error:
                if not fallback.is_worth_it(error, turn.outcome):
                    raise
                self._app.note(f"{error.message}; going on with {other.connection or other.provider.name}")
                plan = fallback.next_plan(database, plan, other, turn.outcome)
        return self._shown(Turn(database, plan), printer)

    def _shown(self, turn: Turn, printer: Printer, *, is_last: bool = True) -> Outcome:
        self._outcome = turn.outcome
        try:
            with turn:
                for event in turn.events():
                    printer.show(event)
            printer.finish(turn.outcome)
        except LlmctlError as error:
            error.chat_id, error.request_id = turn.outcome.chat_id or error.chat_id, turn.outcome.request_id
            if is_last or not fallback.is_worth_it(error, turn.outcome):
                self._show_failure(error, turn.outcome, printer)
            raise
        except Signalled as end:
            printer.interrupted(turn.outcome, end.signum)
            raise
        printer.usage(turn.outcome)
        return turn.outcome

    def _show_failure(self, error: LlmctlError, outcome: Outcome, printer: Printer) -> None:
        if not isinstance(error, InvalidOutputError) or self._app.format.kind == "jsonl":
            printer.fail(outcome, error)
        printer.usage(outcome)

    def plan(self, database: Database, ask: Ask, chat: Row | None = None) -> Plan:
        """Put together what a turn needs: what the flags say comes before what the chat keeps."""
        chat = chat or self.chat(database)
        agent = self._agent(database, chat)
        if agent:
            agent.fill_in(self._app)
        settings = chosen(database)
        manner = options.manner(self._app, settings)
        keep = self._keep(database, settings)
        kept = loads(chat["settings"], {}) if chat else {}
        manner, keep = inherited(manner, keep, kept)
        plan = Plan(
            chat=chat,
            target=self._target(database, chat, agent),
            ask=agent.ask(ask) if agent else ask,
            manner=agent.manner(manner) if agent else manner,
            keep=keep,
            origin=self._origin.limited(settings.get("audit.context")),
            around=self._app.surroundings(),
            party=agent.party if agent else None,
        )
        writable = not self._app.asking["dry_run"]
        tools = agent.tools(self._app, database, plan) if agent else None
        return replace(plan, tools=tools or turn_tools.tools(self._app, database, kept.get("tools"), writable=writable))

    def _agent(self, database: Database, chat: Row | None) -> Agent | None:
        if self._wishes.agent is None and (chat is None or chat["type"] != "agent"):
            return None
        from llmctl.cli.turn import agent as turn_agent  # only for those who talk to one

        return turn_agent.chosen(self._app, database, self._wishes, chat)

    def _check(self) -> None:
        wishes = self._wishes
        chosen = [flag for flag, given in (("-c", wishes.continue_), ("--chat", wishes.chat)) if given]
        if wishes.name and chosen:
            raise UsageError(f'"--name" and "{chosen[0]}" exclude each other')
        if wishes.system is not None and wishes.system_file:
            raise UsageError('"--system" and "--system-file" exclude each other')
        words = wishes.words
        if (
            not self._file
            and len(words) == 2
            and words[0] in _VERBS
            and " " not in words[1]
            and "--" not in self._app.arguments
        ):
            verb, what = words
            raise UsageError(
                f'"chat {verb} {what}" may be a prompt or a command',
                hint=f"a command: llmctl chats {verb} {what}; a prompt: llmctl chat -- {verb} {what}",
            )
        named = {"--chat": wishes.chat, "--name": wishes.name}
        named |= {f"--{flag}": self._app.asking[flag] for flag in ("model", "connection", "output")}
        if empty := [flag for flag, value in named.items() if value == ""]:
            raise UsageError(f'"{empty[0]}" is empty', hint="is the variable that it comes from set?")
        if output := self._app.asking["output"]:
            files.check_place(output)

    @property
    def _goes_on(self) -> bool:
        wishes = self._wishes
        named = wishes.chat or wishes.name or wishes.session
        return bool(wishes.continue_ or named or (not wishes.agent and self._app.env.get("LLMCTL_CHAT")))

    def _says_something(self, ask: Ask) -> bool:
        return bool(ask.prompt or ask.files or ask.messages)

    def _is_unfinished(self) -> bool:
        database = self._app.hub("create")
        chat = self.chat(database, announce=False)
        thread = threads.of_chat(database, chat["id"]) if chat else None
        return thread is not None and resume.find(database, thread["id"]) is not None

    def _open(self) -> None:
        """Open the conversation on a terminal; elsewhere there is nothing to do."""
        io = self._app.io
        if not (io.stdin_tty and io.stdout_tty) and not self._wishes.interactive:
            what = "nothing is unfinished in this chat" if self._goes_on else "no prompt"
            raise UsageError(what, hint='say something: llmctl chat "..." (or pipe it in)', reason="no_prompt")
        from llmctl.cli.turn.repl import Session

        Session(self._app, self).run()

    def _preview(self, ask: Ask) -> None:
        from llmctl.engine.turn.dry_run import preview

        exists = self._app.hub_path != ":memory:" and os.path.exists(self._app.hub_path)
        if not exists:
            self._app.db = ":memory:"
        found = preview(*self._plan_for_preview(ask))
        document = {
            "method": found.method,
            "url": found.url,
            "headers": found.headers,
            "body": json.loads(found.body) if found.body else None,
        }
        if self._app.format.is_json:
            self._app.io.write(dumps(document) + "\n")
            return
        lines = [f"{found.method} {found.url}", *(f"{name}: {value}" for name, value in found.headers.items())]
        body = json.dumps(document["body"], indent=2, ensure_ascii=False)
        self._app.io.write("\n".join(lines) + f"\n\n{body}\n")

    def _plan_for_preview(self, ask: Ask) -> tuple[Database, Plan]:
        database = self._app.hub("create" if self._app.db == ":memory:" else "read")
        return database, self.plan(database, ask)

    def chat(self, database: Database, *, announce: bool = True) -> Row | None:
        """Return the chat to go on with, or None for a new one."""
        wishes = self._wishes
        if wishes.agent is not None:
            from llmctl.cli.turn import agent as turn_agent

            return turn_agent.chat_of(self._app, database, wishes)
        if wishes.chat:
            return lookup.by_reference(database, wishes.chat)
        if wishes.name:
            return lookup.by_name(database, wishes.name)
        if not wishes.continue_:
            ref = self._app.env.get("LLMCTL_CHAT")
            return lookup.by_reference(database, ref) if ref else None
        chat = lookup.newest_like(database, self._origin)
        if announce:
            turns = lookup.turns(database, chat)
            when = ago(chat["last_turn_at"])
            plural = "" if turns == 1 else "s"
            self._app.note(f'continuing "{chat["name"] or chat["id"][:8]}", {turns} turn{plural}, {when}')
        return chat

    def last_chat(self, database: Database, chat: Row | None) -> Row | None:
        """Return the chat of the last turn as it is now, so that the next one goes on with it."""
        chat_id = self._outcome.chat_id if self._outcome else None
        chat_id = chat_id or (chat["id"] if chat else None)
        return lookup.by_reference(database, chat_id) if chat_id else None

    def _keep(self, database: Database, settings: Mapping[str, Any]) -> Keep:
        custom = database.fields.get("chats", {})
        return options.keep(self._app, custom, settings, name=self._wishes.name, log=not self._wishes.no_log)

    def _target(self, database: Database, chat: Row | None, agent: Agent | None) -> target.Target:
        """Return what to talk to: flag, then the chat's own, then environment and settings."""
        model, connection = self._app.asking["model"], self._app.asking["connection"]
        if connection:
            return target.with_model(target.of_connection(database, connection, self._app.env), model)
        if model:
            return target.resolve(database, model, self._app.env)
        if agent:
            return agent.target(self._app, database)
        own = target.of_chat(database, chat, self._app.env) if chat else None
        return own or target.resolve(database, None, self._app.env)


def _prompt_file(app: App, wishes: Wishes) -> PromptFile | None:
    if wishes.agent is not None or (wishes.file is None and wishes.template is None and not wishes.params):
        return None
    from llmctl.cli.turn import prompt_files  # only for those who have one

    return prompt_files.opened(app, wishes.file, wishes.template, wishes.params)
