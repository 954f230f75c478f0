"""``llmctl message`` on the command line."""

from __future__ import annotations

import json

from llmctl.engine.jobs import lease
from tests.fakes.hub_builder import HubBuilder, event
from tests.harness import Llmctl


def test_list_has_every_row_newest_first(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat("fix")
    hub.tool_turn(chat)
    hub.turn(hub.chat(), "a", "b")
    roles = ["assistant", "tool", "assistant", "user"]
    assert llmctl("message", "list", "--chat", "fix", "--columns", "role").stdout.split() == roles
    assert llmctl("message", "list", "--columns", "role").stdout.split() == ["assistant", "user", *roles]
    found = json.loads(llmctl("message", "list", "--chat", "fix", "--json").stdout)
    assert found[1]["content_raw"][0]["type"] == "tool_result"
    assert {row["in_chat"] for row in found} == {chat["id"]}
    assert llmctl("message", "list", "--chat", "nope").returncode == 3


def test_show_has_parts_calls_files_requests_and_stream(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat()
    hub.tool_turn(chat)
    step = hub.database.value("SELECT id FROM {messages} WHERE seq = 2")
    found = json.loads(llmctl("message", "show", step[:8], "--json").stdout)
    assert found["content_raw"][0]["name"] == "weather"
    assert (found["tool_calls"][0]["result"], found["attachments"]) == ("sunny", [])
    assert [request["finish_reason"] for request in found["requests"]] == ["tool_calls"]
    assert found["stream"]["format"] == {"wire": "openai-chat", "provider": "openai"}
    assert llmctl("message", "show", "nope").returncode == 3


def test_show_has_the_partial_answer_of_a_running_turn(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat()
    running = hub.running(chat, [event("Hel"), event("lo")])
    found = json.loads(llmctl("message", "show", running["message"], "--json").stdout)
    assert (found["status"], found["content"]) == ("pending", "Hello")
    assert llmctl("message", "list", "--columns", "content").stdout == "Hello\n"


def test_add_puts_a_message_at_the_end(hub: HubBuilder, llmctl: Llmctl) -> None:
    hub.turn(hub.chat("fix"), "a", "b")
    done = llmctl("message", "add", "--role", "assistant", "-m", "gpt-5", "--json", input="It was the cache.\n")
    added = json.loads(done.stdout)
    assert (added["seq"], added["role"], added["type"], added["model_id"]) == (3, "assistant", "chatModel", "gpt-5")
    assert (added["content"], added["origin"], added["status"]) == ("It was the cache.", "llmctl", "completed")
    asked = llmctl("message", "add", "and", "now?", "--reference", "x=y", "--json", "--chat", "fix")
    assert json.loads(asked.stdout)["references"] == {"x": "y"}
    shown = json.loads(llmctl("chats", "show", "fix", "--json").stdout)
    assert [message["content"] for message in shown["messages"]] == ["a", "b", "It was the cache.", "and now?"]
    assert llmctl("chats", "search", "cache", "--columns", "role").stdout == "assistant\n"


def test_add_is_answered_by_the_next_turn(llmctl: Llmctl) -> None:
    llmctl("chats", "new", "fix", "-m", "echo")
    llmctl("message", "add", "what did I say?", "--chat", "fix")
    assert llmctl("chat", "--chat", "fix", "-c").stdout.strip() == "what did I say?"


def test_add_refuses_an_empty_message_and_a_thread_in_use(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat("fix")
    assert llmctl("message", "add", "--chat", "fix").returncode == 2
    assert llmctl("message", "add", "--chat", "fix", "--role", "tool", "x").returncode == 2
    assert llmctl("message", "add", "--chat", "fix", "-m", "gpt-5", "x").returncode == 2
    job = hub.insert("jobs", name="chat", type="turn", status="running", **lease.process_identity().to_dict())
    hub.database.execute("UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?", (job, chat["thread_id"]))
    assert llmctl("message", "add", "--chat", "fix", "x").returncode == 9
