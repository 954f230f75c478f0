"""An answer without end, or one that unpacks to gigabytes, ends the turn with what came before it."""

from __future__ import annotations

import gzip
import os
import resource
import zlib
from collections.abc import Callable

import pytest

from llmctl.engine.turn.model_call import MAX_ANSWER_BYTES
from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import FakeServer, Reply, delta, refusal
from tests.harness import Llmctl, Result

EVENTS = {"content-type": "text/event-stream"}
FLOOD = b": ping\n" * 200_000
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def run_in_little_memory(llmctl: Llmctl, *words: str, megabytes: int) -> Result:
    """Run where more memory than this cannot be had."""
    size = megabytes << 20
    return llmctl(*words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))


@pytest.mark.parametrize("encoding", list(PACK))
@pytest.mark.parametrize("status", [200, 500])
def test_bomb_is_refused_in_flat_memory(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, encoding: str, status: int
) -> None:
    bomb = PACK[encoding](b"data: " + b"\0" * (100 << 20))
    server.answer(Reply(status, {**EVENTS, "content-encoding": encoding}, (bomb,), length=len(bomb)))
    done = run_in_little_memory(llmctl, "chat", "--retries", "0", "hi", megabytes=350)
    assert (done.returncode, done.stdout) == (6, ""), done
    assert os.path.getsize(hub.path) < 20 << 20
    assert llmctl("chat", "-c", "on").returncode == 0


def test_flood_of_comments_is_refused_once(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(Reply(200, EVENTS, (FLOOD,), chunked=True))
    done = llmctl("chat", "hi")
    assert (done.returncode, done.stdout) == (6, ""), done
    assert "between two events is larger than 1 MiB" in done.stderr
    assert len(server.requests) == 1  # it would come again
    assert hub.value("SELECT error_reason FROM requests") == "too_large"


def test_flood_after_text_keeps_the_text(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(Reply(200, EVENTS, (delta("one"), delta(" two"), FLOOD), chunked=True))
    done = llmctl("chat", "hi")
    assert (done.returncode, done.stdout) == (12, "one two\n"), done
    assert hub.messages_by_role[-1] == ("assistant", "incomplete", "one two")
    assert llmctl("chat", "-c", "on").returncode == 0


def test_error_page_without_end_is_cut(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    page = b"<html><title>no</title>" + b"x" * (3 << 20)
    server.answer(Reply(500, {"content-type": "text/html"}, (page,), length=len(page)))
    assert llmctl("chat", "--retries", "0", "hi").returncode == 6
    assert 0 < hub.value("SELECT length(response) FROM network_calls") <= 1_000_000


@pytest.mark.slow
def test_answer_without_end_is_cut_and_its_text_kept(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    piece = delta("word " * 20_000)
    count = MAX_ANSWER_BYTES // len(piece) + 20
    server.answer(Reply(200, EVENTS, (piece,) * count, chunked=True))
    done = run_in_little_memory(llmctl, "chat", "hi", megabytes=1200)
    assert done.returncode == 12
    assert "the answer is larger than 64 MiB" in done.stderr
    assert done.stdout.count("word") > 12_000_000
    assert hub.messages[-1]["status"] == "incomplete"
    hub.assert_sound()


@pytest.mark.slow
def test_large_prompt_to_echo_costs_no_chat(llmctl: Llmctl, hub: HubFile) -> None:
    done = llmctl("chat", "-m", "echo", input=b"word " * 2_000_000)
    assert done.returncode in (0, 12), done.stderr
    assert llmctl("chat", "-m", "echo", "-c", "--history", "0", "on").returncode == 0


def test_refusal_of_a_whole_page_is_one_line(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(refusal(400, "no " * 100_000))
    done = llmctl("chat", "hi")
    assert done.returncode == 5
    assert len(done.stderr) < 400_000
