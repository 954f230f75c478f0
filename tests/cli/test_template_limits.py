"""Templates of other people's prompt files: none takes all memory or time, and each fails with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmctl.core.errors import UsageError
from llmctl.engine import template_limits
from llmctl.formats import templates
from llmctl.tools import process
from tests.harness import Llmctl

TOO_MUCH = [
    "{{ 'a' * 10**10 }}",
    "{{ ['a' * 1000000] * 100000 | join }}",
    "{{ '%099999999999d' | format(1) }}",
    "{{ '%099999999999d' % 1 }}",
    "{{ 'x'.ljust(10000000000) }}",
    "{{ 'x' | center(10000000000) }}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 10**(10**10) }}",
    "{{ lipsum(n=100000000) }}",
]
PLAIN = [
    "{{ x }} {{ x | upper }} {% if x %}{{ x ~ '!' }}{% endif %}",
    "{% for one in args %}- {{ loop.index }} {{ one | default('none') }}\n{% endfor %}{{ args | join(', ') }}",
    "{{ args[0] }} {{ x.y.z }} {{ x | tojson }}",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", TOO_MUCH)
def test_template_that_takes_too_much_is_refused(text: str) -> None:
    assert not templates.is_linear(text, "t")
    assert "x" not in templates.list_variables(text, "t")
    with pytest.raises(UsageError, match='cannot render "t"') as refused:
        template_limits.render(text, {}, "t")
    assert refused.value.reason == "template"


@pytest.mark.parametrize("text", PLAIN)
def test_plain_template_starts_no_process(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(process, "run_program")
    values = {"x": {"y": {"z": 1}}, "args": ["a", "b"]}
    assert template_limits.render(text, values, "t") == templates.render(text, values, "t")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ 2 * n + 1 }}", "7"),
        ("{% set y = x * 3 %}{{ y }}", "\u00e9\u00e9\u00e9"),
        ("{% for a in range(2) %}{% for b in x %}{{ a }}{{ b }} {% endfor %}{% endfor %}", "0\u00e9 1\u00e9 "),
        ("{{ '%05.1f' | format(n) }}", "003.0"),
        ("{{ x.ljust(3, '.') }}", "\u00e9.."),
    ],
)
def test_template_that_computes_is_rendered(text: str, expected: str) -> None:
    assert template_limits.render(text, {"n": 3, "x": "\u00e9"}, "t") == expected
    assert templates.list_variables(text, "t") <= {"n", "x"}


def test_errors_of_a_template_that_computes_are_the_same() -> None:
    for text in ("{{ 2 * missing }}", "{{ 1 // 0 }}", "{{ ''.__class__.__mro__ * 2 }}"):
        errors = []
        for render in (template_limits.render, templates.render):
            with pytest.raises(UsageError) as refused:
                render(text, {}, "t")
            errors.append((refused.value.message, refused.value.hint, refused.value.reason))
        assert errors[0] == errors[1]


def test_objects_of_a_program_are_rendered_in_it() -> None:
    class Person:
        name = "Ann"

    assert template_limits.render("{{ user.name * 2 }}", {"user": Person()}, "t") == "AnnAnn"


@pytest.mark.parametrize(
    "text",
    [
        "prompt = \"{{ 'a' * 10**10 }}\"",
        'prompt = "' + "{{ " + "(" * 5000 + '"',
        "a=" + "[" * 100_000,
        "x=" + "{a=" * 50_000,
    ],
)
def test_prompt_file_that_takes_too_much_is_exit_2(llmctl: Llmctl, tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    for command in (("run",), ("agent", "run")):
        done = llmctl(*command, "x.toml", "-m", "echo", "hi")
        assert (done.returncode, done.stdout, "x.toml" in done.stderr) == (2, "", True), done.stderr
