"""``llmctl thread`` on the command line."""

from __future__ import annotations

import json

from llmctl.engine.jobs import lease
from tests.fakes.hub_builder import HubBuilder
from tests.harness import Llmctl


def test_list_names_chat_length_and_parent(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat("fix")
    hub.turn(chat, "a", "b")
    llmctl("chats", "fork", "fix", "--at", "1", check=True)
    fork, first = json.loads(llmctl("thread", "list", "--json").stdout)
    assert (first["id"], first["chat"], first["message_count"], first["last_seq"]) == (chat["thread_id"], "fix", 2, 2)
    assert (fork["parent_id"], fork["parent_seq"], fork["message_count"]) == (chat["thread_id"], 1, 1)
    assert first["references"] == {}
    assert llmctl("thread", "list", "--limit", "1").stdout.count("\n") == 1


def test_show_is_everything_in_order(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat()
    hub.tool_turn(chat)
    llmctl("chats", "render", "last", "--save", check=True)
    text = llmctl("thread", "show", chat["thread_id"][:8]).stdout
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("#")] == [
        ["#1", "user"],
        ["#2", "assistant"],
        ["#3", "tool"],
        ["#4", "assistant"],
    ]
    found = json.loads(llmctl("thread", "show", chat["thread_id"], "--json").stdout)
    assert [message["seq"] for message in found["messages"]] == [1, 2, 3, 4]
    assert [snapshot["upto_seq"] for snapshot in found["snapshots"]] == [4]
    assert llmctl("thread", "show", "nope").returncode == 3


def test_unlock_releases_dead_holders_and_respects_live_ones(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat()
    job_id = hub.insert("jobs", name="x", type="turn", status="running", host="elsewhere", pid=1)
    sql = "UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?"
    hub.database.execute(sql, (job_id, chat["thread_id"]))
    assert "is unlocked" in llmctl("thread", "unlock", chat["thread_id"]).stderr
    alive = {**lease.process_identity().to_dict(), "lease_expires_at": lease.lease_expiry()}
    job_id = hub.insert("jobs", name="x", type="turn", status="running", **alive)
    hub.database.execute(sql, (job_id, chat["thread_id"]))
    assert llmctl("thread", "unlock", chat["thread_id"]).returncode == 9
    assert llmctl("thread", "unlock", chat["thread_id"], "--force").returncode == 0
    assert llmctl("thread", "unlock", "nope").returncode == 3
