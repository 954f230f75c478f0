"""The providers as data: complete, consistent, and found by their hosts."""

from __future__ import annotations

import sys
from subprocess import run
from typing import Any

import pytest

from llmctl.core.errors import ConfigError, LlmctlError
from llmctl.core.registry import load_all
from llmctl.providers import PROVIDERS, find_by_host, is_loopback, owns_url, parse_host, parse_origin, split_base_url

ALL = load_all(PROVIDERS)
NODELLM_IDS = {"openai", "anthropic", "gemini", "deepseek", "ollama", "openrouter", "bedrock", "xai", "mistral"}


@pytest.mark.parametrize("name", ALL)
def test_provider_is_complete_under_its_registered_name(name: Any) -> None:
    provider = ALL[name]
    assert provider.name == name
    if name in ("echo", "compatible"):
        return
    assert provider.key_env
    assert provider.base_env
    assert provider.docs.startswith("https://")
    own_place = name in ("azure", "bedrock", "vertex")  # every user's is another one
    assert own_place or provider.base_url.startswith("http://localhost" if provider.local else "https://")
    assert provider.default_model or provider.local or name in ("azure", "bedrock")


def test_variables_belong_to_one_provider_each() -> None:
    keys = [variable for provider in ALL.values() for variable in provider.key_env]
    bases = [variable for provider in ALL.values() for variable in provider.base_env]
    assert len(set(keys)) == len(keys)
    assert len(set(bases)) == len(bases)
    assert "OPENAI_API_BASE" in bases
    assert "OPENAI_BASE_URL" in bases


def test_nodellm_ids_are_those_that_nodellm_knows() -> None:
    ids = {provider.nodellm_id for provider in ALL.values()} - {None}
    assert ids == {"openai", "anthropic", "gemini", "deepseek", "ollama", "openrouter", "xai", "mistral"}
    assert ids <= NODELLM_IDS


def test_unknown_provider_suggests_near_names() -> None:
    with pytest.raises(LlmctlError, match='no provider "mistrall"') as caught:
        PROVIDERS.load("mistrall")
    assert "mistral" in caught.value.hint


def test_registry_imports_no_provider_before_it_is_asked_for() -> None:
    code = "import sys, llmctl.providers as p; p.PROVIDERS.load('openai'); print(*sys.modules)"
    loaded = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "llmctl.providers.openai" in loaded
    assert "llmctl.providers.compatible" not in loaded
    assert "llmctl.providers.echo" not in loaded


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://API.OpenAI.com./v1/", "openai"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini"),
        ("https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/p/locations/europe-west4", "vertex"),
        ("https://api.together.ai/v1", "together"),
        ("https://myresource.openai.azure.com/openai/v1", "azure"),
        ("https://myresource.services.ai.azure.com/models?api-version=2024-05-01-preview", "azure"),
        ("https://ollama.com/v1", "ollama"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://127.0.0.1:1234/v1", "lmstudio"),
        ("http://[::1]:8080", "llamacpp"),
        ("echo://localhost", "echo"),
        ("http://localhost:9999/v1", None),
        ("https://llm.example/v1", None),
    ],
)
def test_find_by_host_names_the_owner(url: str, name: str | None) -> None:
    found = find_by_host(url)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1",  # a key would travel in the clear
        "https://api.openai.com@elsewhere.example/v1",
        "https://elsewhere.example\\@api.openai.com/v1",
        "https://api.openai.com%2eelsewhere.example/v1",
        "https://api.openai.com.elsewhere.example/v1",
        "https://xapi.openai.com/v1",
        "https://api.open\nai.com/v1",
        "https://[api.openai.com/v1",
        "api.openai.com/v1",
        "",
    ],
)
def test_owns_refuses_a_url_that_only_looks_like_the_host(url: str) -> None:
    assert not owns_url(PROVIDERS.load("openai"), url)
    assert find_by_host(url) is None


def test_owns_refuses_the_bare_domain_of_a_wildcard() -> None:
    assert not owns_url(PROVIDERS.load("azure"), "https://openai.azure.com/openai/v1")
    assert not owns_url(PROVIDERS.load("azure"), "https://evilopenai.azure.com.example/openai/v1")


@pytest.mark.parametrize("url", ["http://localhost", "http://a.localhost:1", "http://127.8.9.1/x", "http://[::1]:5/"])
def test_is_loopback_true_for_this_machine(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    ["http://localhost.example", "http://127.0.0.1.example", "http://128.0.0.1", "http://127.1@example.com", "x"],
)
def test_is_loopback_false_for_others(url: str) -> None:
    assert not is_loopback(url)


def test_origin_fills_in_the_usual_port() -> None:
    assert parse_origin("HTTPS://Host.example/v1") == ("https", "host.example", 443)
    assert parse_origin("http://host.example:81") == ("http", "host.example", 81)
    assert parse_host("http://host.example:port") == ""


@pytest.mark.parametrize(
    ("name", "url", "base", "query"),
    [
        ("azure", "https://r.openai.azure.com/", "https://r.openai.azure.com/openai/v1", {}),
        (
            "azure",
            "https://r.services.ai.azure.com/models?api-version=2024-05-01-preview",
            "https://r.services.ai.azure.com/models",
            {"api-version": "2024-05-01-preview"},
        ),
        ("ollama", "http://gpu:11434", "http://gpu:11434/v1", {}),
        ("openai", "http://127.0.0.1:9/", "http://127.0.0.1:9", {}),
        ("openai", " https://proxy.example/v1/ ", "https://proxy.example/v1", {}),
    ],
)
def test_complete_splits_the_query_and_adds_the_root_path(
    name: str, url: str, base: str, query: dict[str, Any]
) -> None:
    assert split_base_url(url, PROVIDERS.load(name).root_path) == (base, query)


@pytest.mark.parametrize("url", ["", "localhost:8080", "/v1", "https://", "https://user:secret@host.example/v1"])
def test_complete_refuses_what_is_no_base_url(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split_base_url(url)
    assert caught.value.hint


def test_dialects_hold_the_known_differences() -> None:
    dialects = {name: provider.dialect for name, provider in ALL.items()}
    assert {name for name, dialect in dialects.items() if not dialect.done_marker} == {
        "perplexity",
        "gpustack",
        "compatible",
    }
    assert {name for name, dialect in dialects.items() if dialect.finish_reason_optional} == {"compatible"}
    assert {name for name, dialect in dialects.items() if dialect.thinking_on_top} == {"xai", "gemini", "vertex"}
    assert dialects["openai"].max_tokens_field == "max_completion_tokens"
    assert dialects["mistral"].max_tokens_field == "max_tokens"
    assert dialects["openrouter"].thinking_field == "reasoning"
    assert dialects["perplexity"].models_path == "/v1/models"
