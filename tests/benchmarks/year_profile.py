"""Models, usage patterns and tools of the benchmarks' year."""

from __future__ import annotations

from typing import NamedTuple


class Model(NamedTuple):
    """A model in use for a part of the year, with its price in dollars for a million tokens."""

    connection: str
    provider: str
    name: str
    begins: float
    ends: float
    input: float | None
    output: float | None
    cached: float | None
    speed_ms: int


#: At most four at a time: people change models when better ones come.
MODELS = (
    Model("work", "openai", "gpt-4.1", 0.0, 0.45, 2.0, 8.0, 0.5, 2600),
    Model("work", "openai", "gpt-5", 0.45, 1.0, 1.25, 10.0, 0.125, 4200),
    Model("sonnet", "anthropic", "claude-sonnet-4", 0.0, 0.6, 3.0, 15.0, 0.3, 3400),
    Model("sonnet", "anthropic", "claude-sonnet-4-5", 0.6, 1.0, 3.0, 15.0, 0.3, 3100),
    Model("flash", "gemini", "gemini-2.5-flash", 0.2, 1.0, 0.3, 2.5, 0.075, 1200),
    Model("local", "ollama", "llama3.2:3b", 0.0, 1.0, None, None, None, 6000),
)
EMBEDDING = Model("embed", "openai", "text-embedding-3-small", 0.0, 1.0, 0.02, 0.0, None, 180)


class UsagePattern(NamedTuple):
    """A way to ask: by whom, with which tag, from which script and folder."""

    share: float
    agent: str | None
    tag: str | None
    script: str | None
    folder: str


USAGE_PATTERNS = (
    UsagePattern(0.62, None, None, None, "/home/ada/src/hub"),
    UsagePattern(0.18, "coder", None, None, "/home/ada/src/engine"),
    UsagePattern(0.08, None, "ci", "review.sh", "/srv/ci/build"),
    UsagePattern(0.07, "support", "tickets", "answer-tickets", "/srv/support"),
    UsagePattern(0.05, None, "notes", None, "/home/ada/notes"),
)
TOOLS = ("read_file", "run_tests", "search_web", "weather", "sql")
