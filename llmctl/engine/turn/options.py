"""One turn as the user asked for it: what, how, what of it is kept, and where it came from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from llmctl.core import paths
from llmctl.core.messages import File, Message, Text
from llmctl.core.switches import is_set
from llmctl.engine.billing.limits import Caps


class Ask(NamedTuple):
    """What is said. Without prompt and messages the turn goes on where the rows say it is unfinished."""

    prompt: str | None = None
    files: tuple[File, ...] = ()
    system: str | None = None
    #: A conversation to begin with, oldest first; its last message is what gets answered.
    messages: tuple[Message, ...] = ()

    def spoken(self) -> tuple[Message, ...]:
        """Return the messages that the turn begins with, oldest first."""
        system = () if self.system is None else (Message.of("system", self.system),)
        if self.prompt is None and not self.files:
            return (*system, *self.messages)
        text = (Text(self.prompt),) if self.prompt else ()
        return (*system, *self.messages, Message("user", (*text, *self.files)))

    @property
    def instructions(self) -> str | None:
        """The system prompt that counts from now on, None where nothing is said of it."""
        return next((m.text for m in reversed(self.spoken()) if m.role == "system"), None)

    @property
    def goes_on(self) -> bool:
        """Whether nothing new is said to the model: what is unfinished is gone on with."""
        return not any(message.role != "system" for message in self.spoken())


class Manner(NamedTuple):
    """How the model is called."""

    options: Mapping[str, Any] = {}
    thinking: str | int | None = None
    shows_thinking: bool = False
    #: JSON Schema that the answer has to meet, and how often one that does not is sent back.
    schema: Mapping[str, Any] | None = None
    fix: int = 0
    stream: bool = True
    #: Seconds for the whole turn; None: as long as it takes.
    timeout_s: float | None = None
    #: Seconds to wait for another job to let go of the thread.
    wait_s: float = 0.0
    retries: int = 2
    max_steps: int = 20
    #: How many earlier turns are sent; None: all.
    history: int | None = None
    #: What it may cost.
    caps: Caps = Caps()


class Keep(NamedTuple):
    """What of the turn stays in the hub, and what it is marked with."""

    #: False: no text is kept, only the ledger row.
    log: bool = True
    #: Kinds of rows that go when the turn is finished: tool-calls, requests, network, streams.
    without: frozenset[str] = frozenset()
    #: A failed answer is removed even where some text came.
    rollback: bool = False
    name: str | None = None
    metadata: Mapping[str, Any] = {}
    references: Mapping[str, str] = {}
    #: Custom columns of chats.
    fields: Mapping[str, Any] = {}
    tag: str | None = None


class Origin(NamedTuple):
    """Where a turn was asked for."""

    terminal: bool = False
    folder: str | None = None
    #: Whether requests note the folder; the chat always does.
    ledger_folder: bool = True
    script: str | None = None
    git_commit: str | None = None
    host: str | None = None

    def limited(self, noted: Collection[str] | None) -> Origin:
        """Return the origin with what the setting ``audit.context`` allows to be noted; None allows all.

        The folder that ``--continue`` looks for stays; only the ledger's copies go.
        """
        if noted is None:
            return self
        return self._replace(
            ledger_folder="folder" in noted,
            script=self.script if "script" in noted else None,
            git_commit=self.git_commit if "git" in noted else None,
            host=self.host if "host" in noted else None,
        )


class Surroundings(NamedTuple):
    """What the process lends to the engine."""

    env: Mapping[str, str] = {}
    home: str = ""
    #: Folder for what the hub's own disk does not take.
    spool_folder: str | None = None
    #: Refuse every host beyond loopback.
    offline: bool = False
    #: Let URLs that we fetch ourselves lead to private addresses.
    private_fetch: bool = False
    on_terminal: bool = False

    @classmethod
    def of(cls, env: Mapping[str, str], *, on_terminal: bool = False) -> Surroundings:
        """Return what a process with this environment lends."""
        return cls(
            env=env,
            home=env.get("HOME", ""),
            spool_folder=paths.state_folder(env),
            offline=is_set(env, "LLMCTL_OFFLINE") or "PYTEST_CURRENT_TEST" in env,
            private_fetch=is_set(env, "LLMCTL_ALLOW_PRIVATE_FETCH"),
            on_terminal=on_terminal,
        )


def inherited(manner: Manner, keep: Keep, settings: Mapping[str, Any]) -> tuple[Manner, Keep]:
    """Fill in what the chat keeps of its first turn where nothing else was said."""
    manner = manner._replace(
        options={**settings.get("options", {}), **manner.options},
        thinking=manner.thinking if manner.thinking is not None else settings.get("thinking"),
    )
    return manner, keep._replace(without=keep.without | frozenset(settings.get("without", ())))
