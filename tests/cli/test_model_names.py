"""``-m`` at every door: a name that means nothing, or another vendor's model, is never sent to the default host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmctl import Hub
from llmctl.errors import ConfigError, NotFoundError
from tests.fakes.openai_server import FakeServer, Reply
from tests.harness import LLMCTL, Llmctl, query, require_failure, require_success, run_on_terminal

TYPO = "gpt-4oo"
#: What the proxy says to a request that reaches it.
REFUSED = Reply(403, {}, (), length=0)


@pytest.fixture
def env(env: dict[str, str], server: FakeServer) -> dict[str, str]:
    """An environment in which every request beyond this machine goes to a server of ours, as its proxy."""
    env.pop("PYTEST_CURRENT_TEST", None)  # means: offline
    env |= {"HTTPS_PROXY": f"http://127.0.0.1:{server.port}", "K": "key-0123456789"}
    return env


@pytest.fixture
def openai(llmctl: Llmctl) -> Llmctl:
    """llmctl with OpenAI as the default connection."""
    llmctl("connection", "add", "openai", "--key-env", "K", "--default", check=True)
    return llmctl


def connect(llmctl: Llmctl, name: str, server: FakeServer, *flags: str) -> None:
    llmctl("connection", "add", name, "--base-url", server.url, "--key-env", "K", *flags, check=True)


def test_model_is_sent_by_insisting_on_its_connection(openai: Llmctl, server: FakeServer) -> None:
    server.answer(REFUSED)
    done = openai("chat", "-m", f"openai:{TYPO}", "--retries", "0", "hi")
    assert done.returncode == 6
    assert [request.method for request in server.requests] == ["CONNECT"]


@pytest.mark.parametrize(
    ("model", "code", "hint"),
    [
        (TYPO, 3, f"did you mean gpt-4o, gpt-4, ft:gpt-4o? to send it to openai as it is: -m openai:{TYPO}"),
        ("olama:llama3", 3, "did you mean ollama:llama3, llamacpp:llama3? to send"),
        ("a:b", 3, "-m openai:a:b"),
        ("nope", 3, "-m openai:nope"),
        ("gpt-99", 3, "-m openai:gpt-99"),
        ("claude-sonnet-4-5", 4, "llmctl connection add anthropic"),
        ("claude-opus-99", 4, "llmctl connection add anthropic"),
        ("gemini-99-flash", 4, "llmctl connection add gemini"),
        ("gemini", 4, "llmctl connection add gemini"),
        ("grok-99", 4, "llmctl connection add xai"),
        ("llama-3.3-70b-versatile", 4, "llmctl connection add groq"),
    ],
)
def test_unknown_model_is_refused_with_what_works(
    openai: Llmctl, server: FakeServer, model: str, code: int, hint: str
) -> None:
    stderr = require_failure(openai("chat", "-m", model, "private"), code)
    assert model in stderr
    assert hint in stderr
    assert server.requests == []
    assert query(openai.env, "SELECT * FROM requests") == []


#: Every way to name a model, but for those with a test of their own.
DOORS = {
    "flag": ["chat", "-m", TYPO, "hi"],
    "fallback": ["chat", "-m", "echo", "--fallback", TYPO, "hi"],
    "no-log": ["chat", "-n", "-m", TYPO, "hi"],
    "dry run": ["chat", "--dry-run", "-m", TYPO, "hi"],
    "new chat": ["chats", "new", "-m", TYPO],
    "embed": ["embed", "-m", TYPO, "hi"],
    "image": ["image", "-m", TYPO, "hi"],
    "agent": ["agent", "create", "clerk", "--model", TYPO],
    "alias": ["model", "alias", "fast", TYPO],
    "agent file": ["agent", "run", "clerk.toml", "hi"],
    "prompt file": ["run", "prompt.toml"],
    "Python agent": ["agent", "run", "clerk.py", "hi"],
}


@pytest.mark.parametrize("arguments", DOORS.values(), ids=DOORS)
def test_unknown_model_is_refused_at_every_door(
    openai: Llmctl, server: FakeServer, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "clerk.toml").write_text(f'name = "clerk"\nmodel = "{TYPO}"\n')
    (tmp_path / "prompt.toml").write_text(f'prompt = "hi"\nmodel = "{TYPO}"\n')
    (tmp_path / "clerk.py").write_text(f"from llmctl import Agent\nclass Clerk(Agent):\n    model = '{TYPO}'\n")
    assert TYPO in require_failure(openai(*arguments), 3)
    assert server.requests == []


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("LLMCTL_MODEL", ["chat", "hi"]),
        ("NODELLM_MODEL", ["chat", "hi"]),
        ("LLMCTL_EMBEDDING_MODEL", ["embed", "hi"]),
        ("NODELLM_EMBEDDING_MODEL", ["embed", "hi"]),
        ("LLMCTL_IMAGE_MODEL", ["image", "hi"]),
    ],
)
def test_unknown_model_in_the_environment_is_refused(
    openai: Llmctl, server: FakeServer, variable: str, words: list[str]
) -> None:
    done = openai.with_env(**{variable: TYPO})(*words)
    assert TYPO in require_failure(done, 3)
    assert server.requests == []


def test_model_of_a_provider_in_the_environment_is_meant(openai: Llmctl, server: FakeServer) -> None:
    there = openai.with_env(NODELLM_PROVIDER="openai", NODELLM_MODEL="gpt-99")
    assert '"gpt-99"' in require_success(there("chat", "--dry-run", "hi"))


def test_unknown_model_is_refused_when_a_request_is_replayed(openai: Llmctl, server: FakeServer) -> None:
    openai("chat", "-m", "echo", "hi", check=True)
    id = require_success(openai("request", "list", "--columns", "id")).strip()
    assert TYPO in require_failure(openai("request", "replay", id, "-m", TYPO), 3)
    assert server.requests == []


def test_unknown_model_is_refused_in_an_interactive_chat(openai: Llmctl, server: FakeServer) -> None:
    answers = [(">", f"/model {TYPO}\n".encode()), (">", b"/model\n"), (">", b"\x04")]
    code, screen = run_on_terminal([*LLMCTL, "chat", "-m", "echo"], openai.env, answers)
    assert (code, f'no model "{TYPO}"' in screen, "echo (echo)" in screen) == (0, True, True), screen
    assert server.requests == []


def test_unknown_model_is_refused_from_python(openai: Llmctl, server: FakeServer) -> None:
    with Hub(openai.env["LLMCTL_DB"], env=openai.env) as hub:
        with pytest.raises(NotFoundError, match=TYPO) as caught:
            hub.create_chat(model=TYPO).ask("hi")
        assert caught.value.reason == "model_not_found"
        with pytest.raises(ConfigError, match="anthropic"):
            hub.create_chat(model="echo").ask("hi", model="claude-sonnet-4-5")
    assert server.requests == []


def dry_run_url(llmctl: Llmctl, *flags: str) -> str:
    """Return where a prompt would go, as ``host model``."""
    document = json.loads(require_success(llmctl("chat", "--dry-run", "--json", *flags, "hi")))
    return f"{document['url'].split('/')[2]} {document['body']['model']}"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-2024-08-06", "gpt-5.6-luna"])
def test_model_of_the_default_vendor_goes_there(openai: Llmctl, model: str) -> None:
    assert dry_run_url(openai, "-m", model) == f"api.openai.com {model}"


def test_model_of_another_vendor_goes_to_its_connection(openai: Llmctl) -> None:
    openai("connection", "add", "claude", "--provider", "anthropic", "--key-env", "K", check=True)
    assert dry_run_url(openai, "-m", "claude-sonnet-4-5") == "api.anthropic.com claude-sonnet-4-5"
    openai("connection", "add", "gemini", "--key-env", "K", "--default", check=True)
    assert dry_run_url(openai, "-m", "claude-sonnet-4-5") == "api.anthropic.com claude-sonnet-4-5"
    stderr = require_failure(openai("chat", "-m", "claude-sonet-4-5", "hi"), 3)
    assert "claude-sonnet-4-5" in stderr
    assert "-m claude:claude-sonet-4-5" in stderr


def test_model_that_several_connections_have_goes_to_the_default_or_nowhere(openai: Llmctl) -> None:
    openai("connection", "add", "work", "--provider", "openai", "--key-env", "K", "--model", "gpt-4.1", check=True)
    assert dry_run_url(openai, "-m", "gpt-4o").startswith("api.openai.com")
    openai("connection", "add", "groq", "--key-env", "K", "--default", check=True)
    stderr = require_failure(openai("chat", "-m", "gpt-4o", "hi"), 3)
    assert "-m openai:gpt-4o or -m work:gpt-4o" in stderr


def test_model_of_one_connection_is_found_by_its_id(openai: Llmctl, server: FakeServer) -> None:
    connect(openai, "work", server, "--model", "my-model")
    assert dry_run_url(openai, "-m", "my-model") == f"127.0.0.1:{server.port} my-model"
    connect(openai, "other", server, "--provider", "mistral", "--model", "my-model")
    assert "-m work:my-model or -m other:my-model" in require_failure(openai("chat", "-m", "my-model", "hi"), 3)
    openai("connection", "default", "other", check=True)
    assert dry_run_url(openai, "-m", "my-model") == f"127.0.0.1:{server.port} my-model"


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["--provider", "ollama", "--base-url", "http://gpu.example:11434"],
        ["--provider", "openai", "--base-url", "http://127.0.0.1:9/v1"],
        ["--base-url", "https://llm.example/v1"],
        ["--provider", "openai", "--base-url", "https://proxy.example/v1"],
        ["--provider", "openrouter"],
        ["--provider", "huggingface"],
        ["--provider", "vllm"],
    ],
    ids=" ".join,
)
def test_default_whose_models_nobody_can_know_takes_any_name(llmctl: Llmctl, flags: list[str]) -> None:
    llmctl("connection", "add", "mine", "--key-env", "K", "--default", *flags, check=True)
    for model in ("nope", "qwen3:8b", "claude-opus-99", "mistral"):
        assert dry_run_url(llmctl, "-m", model).endswith(f" {model}")


def test_default_elsewhere_does_not_get_what_was_meant_for_another_connection(llmctl: Llmctl) -> None:
    llmctl(
        "connection", "add", "mine", "--base-url", "https://llm.example/v1", "--key-env", "K", "--default", check=True
    )
    assert "ollama:llama3" in require_failure(llmctl("chat", "-m", "olama:llama3", "private"), 3)


def test_echo_as_default_takes_any_name(llmctl: Llmctl) -> None:
    llmctl("connection", "default", "echo")
    llmctl("init", "--no-detect", check=True)
    llmctl("connection", "default", "echo", check=True)
    assert require_success(llmctl("chat", "-m", "nope", "hi")) == "hi\n"


def test_model_without_any_connection_says_which_to_add(llmctl: Llmctl) -> None:
    assert "llmctl connection add anthropic" in require_failure(llmctl("chat", "-m", "claude-sonnet-4-5", "hi"), 4)
    assert "--key-stdin" in require_failure(llmctl("chat", "-m", "nope", "hi"), 4)
    with_key = llmctl.with_env(OPENAI_API_KEY="sk-0123456789abcdef")
    with_key("chat", "-m", "echo", "hi", check=True)
    with_key("connection", "remove", "openai")
    assert dry_run_url(with_key, "-m", "gpt-4o") == "api.openai.com gpt-4o"


def test_embedding_model_goes_to_the_vendor_that_has_it(llmctl: Llmctl, server: FakeServer) -> None:
    llmctl("connection", "add", "anthropic", "--key-env", "K", "--default", check=True)
    llmctl("connection", "add", "openai", "--key-env", "K", check=True)
    server.answer(REFUSED)
    llmctl("embed", "-m", "text-embedding-3-small", "--retries", "0", "hi")
    assert [request.path for request in server.requests] == ["api.openai.com:443"]


def test_price_of_ones_own_makes_a_model_known(openai: Llmctl) -> None:
    openai("model", "price", "gpt-99", "--set", "input=1", "--set", "output=2", check=True)
    assert dry_run_url(openai, "-m", "gpt-99") == "api.openai.com gpt-99"


# Aliases


@pytest.mark.parametrize(("target", "model"), [("work", "m1"), ("work:m2", "m2"), ("work:a:b", "a:b")])
def test_alias_keeps_its_meaning_when_its_connection_is_renamed(
    openai: Llmctl, server: FakeServer, target: str, model: str
) -> None:
    connect(openai, "work", server, "--model", "m1")
    openai("model", "alias", "fast", target, "-o", "temperature=0.2", check=True)
    openai("connection", "edit", "work", "--name", "home", check=True)
    assert dry_run_url(openai, "-m", "fast") == f"127.0.0.1:{server.port} {model}"
    assert openai("model", "alias", "list").stdout.split("\t")[1] == target.replace("work", "home")
    openai("connection", "add", "work", "--provider", "groq", "--key-env", "K", check=True)
    assert dry_run_url(openai, "-m", "fast") == f"127.0.0.1:{server.port} {model}"


@pytest.mark.parametrize("is_old", [False, True], ids=["new", "made by an older version"])
@pytest.mark.parametrize("target", ["work", "work:m2"])
def test_alias_of_a_removed_connection_fails_and_is_not_sent_elsewhere(
    llmctl: Llmctl, server: FakeServer, target: str, is_old: bool
) -> None:
    connect(llmctl, "work", server, "--model", "m1")
    connect(llmctl, "other", server, "--model", "m1", "--default")
    llmctl("model", "alias", "fast", target, check=True)
    if is_old:
        query(llmctl.env, "UPDATE model_aliases SET refs = '{}'")
    llmctl("connection", "remove", "work", check=True)
    stderr = require_failure(llmctl("chat", "-m", "fast", "hi"), 4)
    assert f'the connection of alias "fast" ({target}) was removed' in stderr
    connect(llmctl, "work", server, "--model", "m1")
    require_failure(llmctl("chat", "-m", "fast", "hi"), 4)
    llmctl("model", "alias", "fast", target, check=True)
    assert dry_run_url(llmctl, "-m", "fast").startswith("127.0.0.1")
    assert server.requests == []


def test_alias_of_an_older_version_follows_a_renamed_connection(llmctl: Llmctl, server: FakeServer) -> None:
    connect(llmctl, "work", server, "--default")
    llmctl("model", "alias", "fast", "work:m2", check=True)
    query(llmctl.env, "UPDATE model_aliases SET refs = '{}'")
    llmctl("connection", "edit", "work", "--name", "home", check=True)
    assert dry_run_url(llmctl, "-m", "fast") == f"127.0.0.1:{server.port} m2"


def test_alias_is_found_before_a_connection_and_model(openai: Llmctl, server: FakeServer) -> None:
    connect(openai, "work", server, "--model", "m1")
    openai("model", "alias", "openai:fast", "work", check=True)
    assert dry_run_url(openai, "-m", "openai:fast") == f"127.0.0.1:{server.port} m1"
