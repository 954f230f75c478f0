"""Prompts longer than the context of their model: refused unsent where that is certain, else said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.openai_server import FakeServer
from tests.harness import Llmctl, query, require_failure

LIMIT = 128_000  # of gpt-4o


@pytest.fixture(autouse=True)
def connection(llmctl: Llmctl, server: FakeServer) -> None:
    flags = ("--provider", "openai", "--wire", "openai-chat", "--model", "gpt-4o", "--base-url", server.url)
    llmctl("connection", "add", "work", *flags, "--default", "--key-stdin", input="sk-test", check=True)


@pytest.mark.parametrize("door", ["file", "prompt"])
def test_prompt_that_cannot_fit_is_refused_before_it_is_sent(
    llmctl: Llmctl, server: FakeServer, tmp_path: Path, env: dict[str, str], door: str
) -> None:
    words = "word " * (LIMIT + 10)
    (tmp_path / "big.txt").write_text(words)
    done = llmctl("chat", "-a", "big.txt", "read") if door == "file" else llmctl("chat", "read", input=words)
    stderr = require_failure(done, 5)
    assert "more than 128,0" in stderr
    assert '"gpt-4o" takes 128,000' in stderr
    assert server.requests == []
    assert query(env, "SELECT count(*) FROM requests") == [(0,)]


def test_prompt_that_may_not_fit_is_sent_with_a_notice(llmctl: Llmctl, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("x" * 4 * (LIMIT + 10))
    done = llmctl("chat", "-a", "big.txt", "read")
    assert done.returncode == 0
    assert '"gpt-4o" takes 128,000' in done.stderr
    assert len(server.requests) == 1


@pytest.mark.slow
def test_unknown_model_takes_what_it_takes(llmctl: Llmctl, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("word " * (LIMIT + 10))
    done = llmctl("chat", "-m", "work:my-model", "-a", "big.txt", "read")
    assert (done.returncode, done.stderr) == (0, "")
