"""Names and types of model options, at every door: typos are refused, what vendors invent passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmctl.api.hub import Hub
from llmctl.core.errors import UsageError
from llmctl.core.model_options import check_model_options
from llmctl.core.options import TURN_OPTIONS, parse_model_options, parse_text
from llmctl.providers import echo
from tests.harness import Llmctl, require_failure


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("temprature", "temperature"),
        ("tempreature", "temperature"),
        ("Temperature", "temperature"),
        ("max_token", "max_tokens"),
        ("maxTokens", "max_tokens"),
        ("max-tokens", "max_tokens"),
        ("top-p", "top_p"),
        ("topp", "top_p"),
        ("num_cxt", "num_ctx"),
        ("frequency_penality", "frequency_penalty"),
        ("toolchoice", "tool_choice"),
        ("reasoning_efort", "reasoning_effort"),
    ],
)
def test_misspelled_option_is_refused_with_the_one_that_is_meant(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f'got "{name}"') as error:
        parse_model_options([f"{name}=1"], "--option")
    assert f'did you mean "{meant}"?' in str(error.value.hint)
    assert parse_model_options([f"{name}:=1"], "--option") == {name: 1}
    assert check_model_options({f"{name}:": 1}, "options") == {name: 1}


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "top_n",
        "min_k",
        "voice",
        "speed",
        "suffix",
        "logits_processors",
        "do_sample",
        "num_beams",
        "x_vendor",
        "seeds",
    ],
)
def test_unknown_option_of_a_vendor_passes(name: str) -> None:
    assert parse_model_options([f"{name}=hot"], "--option") == {name: "hot"}


def test_options_of_echo_are_known() -> None:
    names = {*echo.OPTIONS, *echo.MODEL_OPTIONS} - {"model", "messages", "stream", "input", "prompt"}
    assert len(names) > 20
    assert check_model_options(dict.fromkeys(names), "--option").keys() == names


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("temperature=hot", "a number"),
        ("temperature=true", "a number"),
        ("top_p=[1]", "a number"),
        ("max_tokens=1.5", "a whole number"),
        ("max_tokens=many", "a whole number"),
        ("seed={}", "a whole number"),
        ("parallel_tool_calls=no", "true or false"),
    ],
)
def test_value_of_another_type_is_refused(text: str, kind: str) -> None:
    name = text.partition("=")[0]
    with pytest.raises(UsageError, match=f"--option {name} must be {kind}, got "):
        parse_model_options([text], "--option")
    with pytest.raises(UsageError, match=f"must be {kind}"):
        parse_text(TURN_OPTIONS["options"], text, "--option")


@pytest.mark.parametrize(
    "text", ["temperature=1", "temperature=0.5", "temperature=null", "seed=-1", "stop=x", "stop=[1]"]
)
def test_value_of_the_right_type_passes(text: str) -> None:
    assert len(parse_model_options([text], "--option")) == 1


@pytest.mark.parametrize("mark", ["=", ":="])
@pytest.mark.parametrize(
    ("name", "flag"), [("system", "--system"), ("stream", "--no-stream"), ("messages", "--messages")]
)
def test_what_a_request_sets_itself_is_no_option(name: str, flag: str, mark: str) -> None:
    with pytest.raises(UsageError, match=f'--option cannot set "{name}"') as error:
        parse_model_options([f'{name}{mark}"x"'], "--option")
    assert error.value.hint == f"use {flag}"


@pytest.mark.parametrize(
    "command",
    [
        ("chat", "-m", "echo", "hi"),
        ("connection", "add", "c", "--provider", "ollama"),
        ("model", "alias", "a", "echo"),
        ("agent", "create", "a", "--connection", "echo"),
    ],
)
@pytest.mark.parametrize("option", ["temprature=1", "temperature=hot", 'system:="x"'])
def test_every_command_with_options_checks_them(llmctl: Llmctl, command: tuple[str, ...], option: str) -> None:
    assert "--option" in require_failure(llmctl(*command, "--option", option), 2)


def test_prompt_files_check_their_options(llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('model = "echo"\nprompt = "hi"\noptions = { temprature = 1 }\n')
    assert "temperature" in require_failure(llmctl("run", "p.toml"), 2)
    (tmp_path / "p.toml").write_text('model = "echo"\nprompt = "hi"\noptions = { temperature = "hot" }\n')
    assert "must be a number" in require_failure(llmctl("run", "p.toml"), 2)


def test_python_checks_options(env: dict[str, str]) -> None:
    with Hub(env["LLMCTL_DB"], env=env) as hub:
        wrong: Any
        for wrong in ({"temprature": 1}, {"temperature": "hot"}, {"system": "x"}):
            with pytest.raises(UsageError):
                hub.create_chat(model="echo", options=wrong)
