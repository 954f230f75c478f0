"""The ``chat`` command: turn flags into a turn and show its events. Also runs ``run`` and ``agent run``."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from llmctl.cli.app import App
from llmctl.cli.catalog import CATALOG
from llmctl.cli.turn import input
from llmctl.cli.turn.input import ChatArgs
from llmctl.cli.turn.printer import TurnPrinter, name_source
from llmctl.core.errors import InvalidOutputError, LlmctlError, UsageError
from llmctl.core.options import TurnOptions
from llmctl.core.signals import Signalled
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.billing.cost import CommandBudget, cost_limits
from llmctl.engine.runtime import Toolset
from llmctl.engine.turn import begin
from llmctl.engine.turn.plan import TurnPlan, UserInput, assign_custom_fields, choose_target, resolve_options
from llmctl.engine.turn.state import TurnResult
from llmctl.engine.turn.turn import TurnAttempt, attempt_turn
from llmctl.store.database import Database
from llmctl.store.records import chats
from llmctl.store.records.settings import list_changed
from llmctl.store.records.types import ChatRow

if TYPE_CHECKING:
    from llmctl.cli.turn.agent import TurnAgent
    from llmctl.cli.turn.prompt_files import PromptFile
    from llmctl.engine.connections.target import Target


#: What the references of a chat contain that is one of several branches; see :mod:`llmctl.engine.chats.comparison`.
BRANCH_REF = '"compared_with"'


class ChatCommand:
    """One run of ``chat``."""

    def __init__(self, app: App, args: ChatArgs, flags: TurnOptions) -> None:
        self._app = app
        self._prompt_file = _open_prompt_file(app, args)
        self._options = flags.over(self._prompt_file.defaults_for(flags)) if self._prompt_file else flags
        #: Whether the next turn asks what was answered before: then no stored answer is used.
        self.asks_again = False
        #: What ``--max-cost`` lets this command spend in all its turns.
        self._budget: CommandBudget | None = None
        self._args = args.replace(no_log=args.no_log or bool(self._prompt_file and self._prompt_file.definition.no_log))
        self._check_flags()
        self._caller = app.caller_info()
        self._result: TurnResult | None = None
        #: Whether the chat is open for further messages.
        self._is_open = False
        #: Whether the chat that the flags or the environment name is no longer meant.
        self._has_left = False
        self.system = input.read_system_prompt(self._args)

    def run(self) -> None:
        """Run one turn, or an interactive chat."""
        if self._options.detach:
            self._detach()
            return
        user_input = input.read_input(self._app, self._args, self._options, self._prompt_file, self.system)
        self.system = user_input.system
        if not self._has_input(user_input) and not self._finishes_turn():
            self._open_repl()
            return
        if self._options.dry_run:
            self._show_dry_run(user_input)
            return
        if self._options.models:
            self._compare_models(user_input)
        else:
            self.run_turn(user_input)
        if self._args.interactive:
            self._open_repl()

    def _compare_models(self, user_input: UserInput) -> None:
        """Ask several models; each continues the chat in a branch of its own."""
        from llmctl.cli.turn.comparison import ModelComparison
        from llmctl.engine.chats import comparison
        from llmctl.engine.connections import target

        database = self._app.hub("create")
        chat = self.find_chat(database)
        if chat is not None and chat.type == "agent":
            raise UsageError("several models cannot continue the session of an agent", hint="pass one -m")
        plans = []
        for number, ref in enumerate(self._options.models):
            self._options = self._options.replace(model=ref)
            plan = self.build_plan(database, user_input, chat)
            target.require_trust(database, plan.target, plan.runtime)
            if number and chat is not None and plan.log:
                plan = plan.replace(chat=comparison.fork_for_model(database, chat, plan.target, self._caller))
            plans.append((ref, plan if not number else plan.replace(name=None)))
        self._options = self._options.replace(model=None, models=None)
        run = ModelComparison(self._app, plans)
        run.run()
        self._result = run.runs[0].result

    def _detach(self) -> None:
        args = self._args
        if args.no_log or args.interactive:
            flag = "--no-log" if args.no_log else "--interactive"
            raise UsageError(f"--detach and {flag} cannot be combined")
        if not args.words and not self._is_continuation and self._app.console.io.stdin_tty:
            raise UsageError("no prompt", hint='pass one: llmctl chat --detach "hello"')
        from llmctl.cli import background

        self.require_usable()
        background.start_this_command(self._app, args.name or "chat")

    def require_usable(self) -> None:
        """Raise the error that a turn would end with at once, for want of trust; on a terminal it is asked for."""
        from llmctl.engine.connections import target

        database = self._app.hub("create")
        target.require_trust(database, self.build_plan(database, UserInput()).target, self._app.runtime_env())

    def run_turn(self, user_input: UserInput, chat: ChatRow | None = None) -> TurnResult:
        """Run one turn, show it and return its result. Models of ``--fallback`` are tried until one answers."""
        database = self._app.hub("create")
        plan = self.build_plan(database, user_input, chat)
        prints_messages = bool(self._args.messages)
        printer = TurnPrinter(
            self._app.console,
            plan.options,
            source=plan.target.connection or plan.target.provider.name,
            new_messages=prints_messages,
            has_tools=bool(plan.tools),
        )
        try:
            for attempt in attempt_turn(database, plan, note=self._app.console.note, on_commit=printer.flush):
                with attempt:
                    return self._show_turn(attempt, printer)
            raise AssertionError("the last attempt returns or raises")
        finally:
            printer.close()

    def _show_turn(self, attempt: TurnAttempt, printer: TurnPrinter) -> TurnResult:
        turn = attempt.turn
        self._result = turn.result
        try:
            with turn:
                for event in turn.events():
                    printer.show(event)
            printer.finish(turn.result)
        except LlmctlError as error:
            error.chat_id, error.request_id = turn.result.chat_id or error.chat_id, turn.result.request_id
            name_source(error, turn.result)
            if not attempt.falls_back(error):
                self._show_failure(error, turn.result, printer)
            raise
        except Signalled as end:
            printer.finish_interrupted(turn.result, end.signum)
            if end.signum == signal.SIGINT and self._app.console.io.stderr_tty:
                self._note_stop(turn.result)
            raise
        printer.print_usage(turn.result)
        return turn.result

    def _note_stop(self, result: TurnResult) -> None:
        """Say what Ctrl-C has left of the answer, and how to go on."""
        from llmctl.core.humanize import pluralize  # only for this note

        words = len(result.response.message.text.split()) if result.response else 0
        if result.chat_id is None or self._options.rollback:
            self._app.console.note("stopped; the answer is not kept")
            return
        kept = f"{pluralize(words, 'word')} kept" if words else "the prompt is kept"
        name = chats.find_name(self._app.hub("read"), result.chat_id) or result.chat_id[:8]
        command = f"agent run {self._args.agent}" if self._args.agent else "chat"
        way_on = "/continue" if self._is_open else f"llmctl {command} -c"
        self._app.console.note(f'stopped; {kept} in "{name}"; {way_on} goes on')

    def _show_failure(self, error: LlmctlError, result: TurnResult, printer: TurnPrinter) -> None:
        if not isinstance(error, InvalidOutputError) or self._app.console.format.kind == "jsonl":
            printer.fail(result, error)
        printer.print_usage(result, is_failed=True)

    def build_plan(self, database: Database, user_input: UserInput, chat: ChatRow | None = None) -> TurnPlan:
        """Build the plan of a turn; flags override the settings of the chat."""
        chat = chat or self.find_chat(database)
        agent = self._select_agent(database, chat)
        settings = list_changed(database)
        chat_settings = loads(chat.settings, {}) if chat else {}
        given = self._options.over(agent.defaults()) if agent else self._options
        options = assign_custom_fields(database, resolve_options(given, settings, chat_settings, env=self._app.env))
        if self.asks_again and options.uses_cache and not options.cached_only:
            options = options.replace(refresh=True)
        if options.max_cost is not None and self._budget is None:
            self._budget = CommandBudget(options.max_cost)
        plan = TurnPlan(
            chat=chat,
            target=choose_target(
                database,
                options,
                chat,
                self._app.env,
                own=partial(agent.resolve_target, self._app, database) if agent else None,
            ),
            input=agent.add_instructions(user_input) if agent else user_input,
            options=options,
            caller=self._caller.restrict_to(settings.get("audit.context")),
            runtime=self._app.runtime_env(),
            log=not self._args.no_log,
            name=self._args.name,
            cost_limits=cost_limits(settings, self._budget),
            agent=agent.party if agent else None,
        )
        return plan.replace(
            tools=agent.build_toolset(self._app, database, plan)
            if agent
            else self._build_toolset(database, options, chat_settings.get("tools") or {}),
        )

    @property
    def options(self) -> TurnOptions:
        """The options of the next turns, as the flags and the commands of an open chat set them."""
        return self._options

    def change_options(self, **changes: Any) -> None:
        """Change options of the next turns."""
        self._options = self._options.replace(**changes)

    def find_target(self, database: Database, chat: ChatRow | None) -> Target | None:
        """Return where the next turn goes; None for an agent's, and where there is no connection."""
        if self._args.agent is not None or (chat is not None and chat.type == "agent"):
            return None
        stored = loads(chat.settings, {}) if chat else {}
        options = resolve_options(self._options, list_changed(database), stored, env=self._app.env)
        with suppress(LlmctlError):
            return choose_target(database, options, chat, self._app.env)
        return None

    def leave_chat(self, name: str | None) -> None:
        """Forget the chat that the flags and the last turn name: the next turn begins one, with a name or without."""
        self._args = self._args.replace(continue_=False, chat=None, session=None, name=name)
        self._result, self._has_left = None, True

    def _build_toolset(self, database: Database, options: TurnOptions, stored: Mapping[str, Any]) -> Toolset:
        """Return the tools of the flags and of the chat; a flag overrides the chat's permission for a tool."""
        if not options.tools and not stored and not options.approve:
            return Toolset()
        from llmctl.cli.turn.approval import build_approval_prompt
        from llmctl.engine.tools.toolset import build_toolset

        tools = build_toolset(
            database,
            options.tools,
            stored,
            approved=options.approve,
            note=self._app.console.note,
            writable=not options.dry_run,
        )
        return tools.replace(ask=build_approval_prompt(self._app.console))

    def _select_agent(self, database: Database, chat: ChatRow | None) -> TurnAgent | None:
        if self._args.agent is None and (chat is None or chat.type != "agent"):
            return None
        from llmctl.cli.turn import agent as turn_agent  # only for agents

        return turn_agent.select_agent(self._app, database, self._args, self._options, chat)

    def _check_flags(self) -> None:
        args = self._args
        if self._options.models:
            self._check_models()
        chat_flags = [flag for flag, value in (("-c", args.continue_), ("--chat", args.chat)) if value]
        if args.name and chat_flags:
            raise UsageError(f"--name and {chat_flags[0]} cannot be combined")
        if args.session and args.chat:
            raise UsageError("--session and --chat cannot be combined")
        if args.finish and not self._is_continuation:
            raise UsageError("--finish requires -c or --chat", hint="llmctl chat -c --finish")
        if args.finish and (args.words or args.interactive or args.messages):
            raise UsageError("--finish cannot be combined with a prompt or --interactive")
        if args.system is not None and args.system_file:
            raise UsageError("--system and --system-file cannot be combined")
        self._refuse_chats_verb()
        if empty := [flag for flag, value in (("--chat", args.chat), ("--name", args.name)) if value == ""]:
            raise UsageError(f"{empty[0]} must not be empty", hint="check that the variable it comes from is set")
        if self._options.output:
            from llmctl.cli.atomic_write import require_writable_path

            require_writable_path(self._options.output)

    def _refuse_chats_verb(self) -> None:
        """Raise UsageError for what is easily typed instead of a command of ``chats``; off a terminal one word is not.

        ``--`` before the words makes them a prompt.
        """
        words, io = self._args.words, self._app.console.io
        has_other_prompt = self._prompt_file or self._args.agent is not None or "--" in self._app.arguments
        if has_other_prompt or not words or words[0] not in CATALOG["chats"].subcommands:
            return
        is_alone = len(words) == 1 and io.stdin_tty and io.stderr_tty
        if is_alone or (len(words) == 2 and " " not in words[1]):
            text = " ".join(words)
            raise UsageError(
                f'"chat {text}" is ambiguous: a prompt or a command',
                hint=f"command: llmctl chats {text}; prompt: llmctl chat -- {text}",
            )

    @property
    def _is_continuation(self) -> bool:
        args = self._args
        ref = args.chat or args.name or args.session
        return bool(args.continue_ or ref or (not args.agent and self._app.env.get("LLMCTL_CHAT")))

    def _has_input(self, user_input: UserInput) -> bool:
        return bool(user_input.prompt or user_input.files or user_input.messages)

    def _finishes_turn(self) -> bool:
        """Return whether a run without a prompt finishes a turn; on a terminal it opens the chat instead."""
        io = self._app.console.io
        opens_chat = self._args.interactive or (io.stdin_tty and io.stdout_tty and not self._args.finish)
        return self._is_continuation and not opens_chat and self._has_unfinished_turn()

    def _has_unfinished_turn(self) -> bool:
        database = self._app.hub("create")
        chat = self.find_chat(database, announce=False)
        thread = chats.find_thread(database, chat.id) if chat else None
        return thread is not None and begin.find_unfinished(database, thread.id) is not None

    def _open_repl(self) -> None:
        """Start an interactive chat; raises UsageError without a terminal, unless ``--interactive``."""
        io = self._app.console.io
        if self._args.finish or (not (io.stdin_tty and io.stdout_tty) and not self._args.interactive):
            message = "no prompt, and this chat has no unfinished turn" if self._is_continuation else "no prompt"
            if self._args.name and self.find_chat(self._app.hub("create"), announce=False) is None:
                message = f'no prompt, and there is no chat "{self._args.name}" yet'
            raise UsageError(message, hint='pass a prompt: llmctl chat "hello", or pipe it in', reason="no_prompt")
        from llmctl.cli.turn.repl import ReplSession

        self._is_open = True
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
        if self._app.console.format.is_json:
            self._app.console.io.write(dumps(document) + "\n")
            return
        lines = [f"{request.method} {request.url}", *(f"{name}: {value}" for name, value in request.headers.items())]
        body = json.dumps(document["body"], indent=2, ensure_ascii=False)
        self._app.console.io.write("\n".join(lines) + f"\n\n{body}\n")

    def _plan_dry_run(self, user_input: UserInput) -> tuple[Database, TurnPlan]:
        database = self._app.hub("create" if self._app.db == ":memory:" else "read")
        return database, self.build_plan(database, user_input)

    def _check_models(self) -> None:
        """Raise UsageError for flags that mean a single answer."""
        options, args = self._options, self._args
        singles = {
            "--messages": args.messages,
            "--finish": args.finish,
            "--detach": options.detach,
            "--dry-run": options.dry_run,
            "--connection": options.connection,
            "--db :memory:": self._app.hub_path == ":memory:",
        }
        if flag := next((flag for flag, value in singles.items() if value), None):
            raise UsageError(f"several -m and {flag} cannot be combined")

    def find_chat(self, database: Database, *, announce: bool = True) -> ChatRow | None:
        """Return the chat to continue, or None for a new one; of several branches the one that the user chose."""
        chat = self._find_chat(database, announce=announce)
        if chat is None or not announce or BRANCH_REF not in chat.refs or self._options.dry_run:
            return chat
        from llmctl.cli.turn.comparison import choose_branch
        from llmctl.engine.chats import comparison

        branches = comparison.list_branches(database, chat)
        if not branches:
            return chat
        is_chosen = bool(self._args.chat) and self._args.chat != "last"
        return (
            comparison.keep_branch(database, chat, branches)
            if is_chosen
            else choose_branch(self._app, database, branches)
        )

    def _find_chat(self, database: Database, *, announce: bool) -> ChatRow | None:
        args = self._args
        if args.agent is not None:
            from llmctl.cli.turn import agent as turn_agent

            return turn_agent.find_session_chat(self._app, database, args, self._options)
        if args.chat:
            chat = chats.get_or_last(database, args.chat, self._place)
            if announce and args.chat == "last" and self._app.console.io.stderr_tty:
                self._announce(database, chat)
            return chat
        if args.name:
            return chats.find_by_name(database, args.name)
        if not args.continue_:
            ref = None if self._has_left else self._app.env.get("LLMCTL_CHAT")
            return chats.get_or_last(database, ref, self._place) if ref else None
        chat = chats.get_last_used(database, self._place)
        if announce:
            self._announce(database, chat)
        return chat

    def _announce(self, database: Database, chat: ChatRow) -> None:
        """Say which chat is continued."""
        from llmctl.core.humanize import format_age, pluralize  # only for this note

        turns, when = pluralize(chats.count_turns(database, chat.id), "turn"), format_age(str(chat.last_turn_at))
        self._app.console.note(f'continuing "{chats.get_title(database, chat)}", {turns}, {when}')

    @property
    def _place(self) -> chats.Place:
        return chats.Place(self._caller.terminal, self._caller.folder)

    def reload_chat(self, database: Database, chat: ChatRow | None) -> ChatRow | None:
        """Return the current row of the last turn's chat, for the next turn."""
        chat_id = self._result.chat_id if self._result else None
        chat_id = chat_id or (chat.id if chat else None)
        return chats.get(database, chat_id) if chat_id else None


def continue_turn(app: App, chat_id: str, *, detach: bool = False) -> None:
    """Resume the unfinished turn of a chat, like ``llmctl chat --chat REF``; ``detach`` runs it as a background job."""
    if detach:
        from llmctl.cli import background

        ChatCommand(app, ChatArgs(chat=chat_id, finish=True), TurnOptions(stdin=False)).require_usable()
        words = [*background.SELF_COMMAND, "--db", app.hub_path, "chat", "--chat", chat_id, "--no-stdin"]
        background.start_job(app, background.parse_command(app, words, "chat"))
        return
    ChatCommand(app, ChatArgs(chat=chat_id, finish=True), TurnOptions(stdin=False)).run()


def _open_prompt_file(app: App, args: ChatArgs) -> PromptFile | None:
    if args.agent is not None or (args.file is None and args.template is None and not args.params):
        return None
    from llmctl.cli.turn import prompt_files  # only for prompt files

    return prompt_files.open_prompt_file(app, args.file, args.template, args.params)
