"""The ``chat`` command: turn flags into a turn and show its events. Also runs ``run`` and ``agent run``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmctl.cli import atomic_write
from llmctl.cli.app import App
from llmctl.cli.turn import input, options
from llmctl.cli.turn import tools as turn_tools
from llmctl.cli.turn.input import ChatArgs
from llmctl.cli.turn.printer import TurnPrinter
from llmctl.core.errors import InvalidOutputError, LlmctlError, UsageError
from llmctl.core.humanize import format_age
from llmctl.core.signals import Signalled
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.chats import lookup
from llmctl.engine.connections import target
from llmctl.engine.turn import begin
from llmctl.engine.turn.options import PersistOptions, TurnPlan, UserInput, apply_chat_defaults
from llmctl.engine.turn.result import TurnResult
from llmctl.engine.turn.turn import Turn, can_fall_back, fallback_plan
from llmctl.store.database import Database
from llmctl.store.records import chats, threads
from llmctl.store.records.settings import list_changed
from llmctl.store.records.types import ChatRow

if TYPE_CHECKING:
    from llmctl.cli.turn.agent import TurnAgent
    from llmctl.cli.turn.prompt_files import PromptFile

#: Subcommands of ``chats`` that are easily typed after ``chat`` by mistake.
_CHATS_VERBS = ("list", "show", "new", "edit", "search", "rename", "fork", "render", "unlock", "delete")


class ChatCommand:
    """One run of ``chat``."""

    def __init__(self, app: App, args: ChatArgs) -> None:
        self._app = app
        self._prompt_file = _open_prompt_file(app, args)
        self._args = args._replace(
            no_log=args.no_log or bool(self._prompt_file and self._prompt_file.definition.no_log)
        )
        self._check_flags()
        self._caller = app.caller_info()
        self._result: TurnResult | None = None
        self.system = input.read_system_prompt(self._args)

    def run(self) -> None:
        """Run one turn, or an interactive chat."""
        if self._app.turn_flags["detach"]:
            self._detach()
            return
        user_input = input.read_input(self._app, self._args, self._prompt_file, self.system)
        self.system = user_input.system
        if not self._has_input(user_input) and not (self._is_continuation and self._has_unfinished_turn()):
            self._open_repl()
            return
        if self._app.turn_flags["dry_run"]:
            self._show_dry_run(user_input)
            return
        self.run_turn(user_input)
        if self._args.interactive:
            self._open_repl()

    def _detach(self) -> None:
        args = self._args
        if args.no_log or args.interactive:
            flag = "--no-log" if args.no_log else "--interactive"
            raise UsageError(f"--detach and {flag} cannot be combined")
        if not args.words and not self._is_continuation and self._app.io.stdin_tty:
            raise UsageError("no prompt", hint='pass one: llmctl chat --detach "hello"')
        from llmctl.cli import background

        background.start_this_command(self._app, args.name or "chat")

    def run_turn(self, user_input: UserInput, chat: ChatRow | None = None) -> TurnResult:
        """Run one turn, show it and return its result. Models of ``--fallback`` are tried until one answers."""
        database = self._app.hub("create")
        plan = self.build_plan(database, user_input, chat)
        printer = TurnPrinter(self._app, new_messages=bool(self._args.messages), has_tools=bool(plan.tools))
        for other in [target.resolve(database, ref, self._app.env) for ref in self._app.turn_flags["fallback"]]:
            turn = Turn(database, plan, on_commit=printer.flush)
            try:
                return self._show_turn(turn, printer, is_last=False)
            except LlmctlError as error:
                if not can_fall_back(error, turn.result):
                    raise
                self._app.note(f"{error.message}; falling back to {other.connection or other.provider.name}")
                plan = fallback_plan(database, plan, other, turn.result)
        return self._show_turn(Turn(database, plan, on_commit=printer.flush), printer)

    def _show_turn(self, turn: Turn, printer: TurnPrinter, *, is_last: bool = True) -> TurnResult:
        self._result = turn.result
        try:
            with turn:
                for event in turn.events():
                    printer.show(event)
            printer.finish(turn.result)
        except LlmctlError as error:
            error.chat_id, error.request_id = turn.result.chat_id or error.chat_id, turn.result.request_id
            if is_last or not can_fall_back(error, turn.result):
                self._show_failure(error, turn.result, printer)
            raise
        except Signalled as end:
            printer.finish_interrupted(turn.result, end.signum)
            raise
        printer.print_usage(turn.result)
        return turn.result

    def _show_failure(self, error: LlmctlError, result: TurnResult, printer: TurnPrinter) -> None:
        if not isinstance(error, InvalidOutputError) or self._app.format.kind == "jsonl":
            printer.fail(result, error)
        printer.print_usage(result)

    def build_plan(self, database: Database, user_input: UserInput, chat: ChatRow | None = None) -> TurnPlan:
        """Build the plan of a turn; flags override the settings of the chat."""
        chat = chat or self.find_chat(database)
        agent = self._select_agent(database, chat)
        if agent:
            agent.apply_defaults(self._app)
        settings = list_changed(database)
        call = options.call_options(self._app, settings)
        persist = self._persist_options(database, settings)
        chat_settings = loads(chat.settings, {}) if chat else {}
        call, persist = apply_chat_defaults(call, persist, chat_settings)
        plan = TurnPlan(
            chat=chat,
            target=self._resolve_target(database, chat, agent),
            input=agent.add_instructions(user_input) if agent else user_input,
            call_options=agent.merge_call_options(call) if agent else call,
            persist=persist,
            caller=self._caller.restrict_to(settings.get("audit.context")),
            runtime=self._app.runtime_env(),
            agent=agent.party if agent else None,
        )
        writable = not self._app.turn_flags["dry_run"]
        tools = agent.build_toolset(self._app, database, plan) if agent else None
        return replace(
            plan,
            tools=tools or turn_tools.build_toolset(self._app, database, chat_settings.get("tools"), writable=writable),
        )

    def _select_agent(self, database: Database, chat: ChatRow | None) -> TurnAgent | None:
        if self._args.agent is None and (chat is None or chat.type != "agent"):
            return None
        from llmctl.cli.turn import agent as turn_agent  # only for agents

        return turn_agent.select_agent(self._app, database, self._args, chat)

    def _check_flags(self) -> None:
        args = self._args
        chat_flags = [flag for flag, value in (("-c", args.continue_), ("--chat", args.chat)) if value]
        if args.name and chat_flags:
            raise UsageError(f"--name and {chat_flags[0]} cannot be combined")
        if args.system is not None and args.system_file:
            raise UsageError("--system and --system-file cannot be combined")
        words = args.words
        if (
            not self._prompt_file
            and len(words) == 2
            and words[0] in _CHATS_VERBS
            and " " not in words[1]
            and "--" not in self._app.arguments
        ):
            verb, ref = words
            raise UsageError(
                f'"chat {verb} {ref}" is ambiguous: a prompt or a command',
                hint=f"command: llmctl chats {verb} {ref}; prompt: llmctl chat -- {verb} {ref}",
            )
        values = {"--chat": args.chat, "--name": args.name}
        values |= {f"--{flag}": self._app.turn_flags[flag] for flag in ("model", "connection", "output")}
        if empty := [flag for flag, value in values.items() if value == ""]:
            raise UsageError(f"{empty[0]} must not be empty", hint="check that the variable it comes from is set")
        if output := self._app.turn_flags["output"]:
            atomic_write.require_writable_path(output)

    @property
    def _is_continuation(self) -> bool:
        args = self._args
        ref = args.chat or args.name or args.session
        return bool(args.continue_ or ref or (not args.agent and self._app.env.get("LLMCTL_CHAT")))

    def _has_input(self, user_input: UserInput) -> bool:
        return bool(user_input.prompt or user_input.files or user_input.messages)

    def _has_unfinished_turn(self) -> bool:
        database = self._app.hub("create")
        chat = self.find_chat(database, announce=False)
        thread = threads.find_for_chat(database, chat.id) if chat else None
        return thread is not None and begin.find_unfinished(database, thread.id) is not None

    def _open_repl(self) -> None:
        """Start an interactive chat; raises UsageError without a terminal, unless ``--interactive``."""
        io = self._app.io
        if not (io.stdin_tty and io.stdout_tty) and not self._args.interactive:
            message = "no prompt, and this chat has no unfinished turn" if self._is_continuation else "no prompt"
            raise UsageError(message, hint='pass a prompt: llmctl chat "hello", or pipe it in', reason="no_prompt")
        from llmctl.cli.turn.repl import ReplSession

        ReplSession(self._app, self).run()

    def _show_dry_run(self, user_input: UserInput) -> None:
        from llmctl.engine.dry_run import preview_request

        exists = self._app.hub_path != ":memory:" and os.path.exists(self._app.hub_path)
        if not exists:
            self._app.db = ":memory:"
        request = preview_request(*self._plan_dry_run(user_input))
        document = {
            "method": request.method,
            "url": request.url,
            "headers": request.headers,
            "body": json.loads(request.body) if request.body else None,
        }
        if self._app.format.is_json:
            self._app.io.write(dumps(document) + "\n")
            return
        lines = [f"{request.method} {request.url}", *(f"{name}: {value}" for name, value in request.headers.items())]
        body = json.dumps(document["body"], indent=2, ensure_ascii=False)
        self._app.io.write("\n".join(lines) + f"\n\n{body}\n")

    def _plan_dry_run(self, user_input: UserInput) -> tuple[Database, TurnPlan]:
        database = self._app.hub("create" if self._app.db == ":memory:" else "read")
        return database, self.build_plan(database, user_input)

    def find_chat(self, database: Database, *, announce: bool = True) -> ChatRow | None:
        """Return the chat to continue, or None for a new one."""
        args = self._args
        if args.agent is not None:
            from llmctl.cli.turn import agent as turn_agent

            return turn_agent.find_session_chat(self._app, database, args)
        if args.chat:
            return lookup.get_chat(database, args.chat)
        if args.name:
            return chats.find_by_name(database, args.name)
        if not args.continue_:
            ref = self._app.env.get("LLMCTL_CHAT")
            return lookup.get_chat(database, ref) if ref else None
        chat = lookup.get_last_chat(database, self._caller)
        if announce:
            turns = chats.count_turns(database, chat.id)
            when = format_age(str(chat.last_turn_at))
            plural = "" if turns == 1 else "s"
            self._app.note(f'continuing "{chat.name or chat.id[:8]}", {turns} turn{plural}, {when}')
        return chat

    def reload_chat(self, database: Database, chat: ChatRow | None) -> ChatRow | None:
        """Return the current row of the last turn's chat, for the next turn."""
        chat_id = self._result.chat_id if self._result else None
        chat_id = chat_id or (chat.id if chat else None)
        return lookup.get_chat(database, chat_id) if chat_id else None

    def _persist_options(self, database: Database, settings: Mapping[str, Any]) -> PersistOptions:
        custom = database.fields.get("chats", {})
        return options.persist_options(self._app, custom, settings, name=self._args.name, log=not self._args.no_log)

    def _resolve_target(self, database: Database, chat: ChatRow | None, agent: TurnAgent | None) -> target.Target:
        """Return the target: from flags, then the agent or chat, then the environment and settings."""
        model, connection = self._app.turn_flags["model"], self._app.turn_flags["connection"]
        if connection:
            return target.with_model(target.for_connection(database, connection, self._app.env), model)
        if model:
            return target.resolve(database, model, self._app.env)
        if agent:
            return agent.resolve_target(self._app, database)
        chat_target = target.for_chat(database, chat, self._app.env) if chat else None
        return chat_target or target.resolve(database, None, self._app.env)


def _open_prompt_file(app: App, args: ChatArgs) -> PromptFile | None:
    if args.agent is not None or (args.file is None and args.template is None and not args.params):
        return None
    from llmctl.cli.turn import prompt_files  # only for prompt files

    return prompt_files.open_prompt_file(app, args.file, args.template, args.params)
