"""``run FILE`` and ``chat -t NAME``: what a prompt file says, what the command line puts in, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmctl.cli.help.topics import topic_text as topic
from llmctl.engine.agents import definition
from tests.harness import LLMCTL, Llmctl, run_on_terminal

ROOT = Path(__file__).parents[2]
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a prompt file beside the tests' folder of work; return its name."""

    def to(text: str, name: str = "p.toml") -> str:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return name

    return to


def sent(run: Llmctl, *arguments: str, **more: Any) -> dict[str, Any]:
    """Return the body of the request that the command would send."""
    done = run(*arguments, "-m", "echo", "--dry-run", "--json", **more)
    assert done.returncode == 0, done.stderr
    body: dict[str, Any] = json.loads(done.stdout)["body"]
    return body


def prompts(run: Llmctl, *arguments: str, **more: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in sent(run, *arguments, **more)["messages"]]


GREET = """
system = "You speak {{ language }}."
prompt = \"\"\"
Greet {{ args | join(' and ') }} in {{ language }}.
{% if stdin %}
They said: {{ stdin }}
{% endif %}
\"\"\"

[params]
language = "English"
"""


def test_templates_are_filled_in_with_parameters_arguments_and_stdin(llmctl: Llmctl, write: Write) -> None:
    file = write(GREET)
    assert prompts(llmctl, "run", file, "Ann", "Bob", "-p", "language=Latin", input="ave\n") == [
        ("system", "You speak Latin."),
        ("user", "Greet Ann and Bob in Latin.\nThey said: ave"),
    ]
    assert prompts(llmctl, "run", file, "Ann")[1] == ("user", "Greet Ann in English.")


def test_what_no_template_names_follows_the_prompt(llmctl: Llmctl, write: Write) -> None:
    file = write('prompt = "Review this."')
    assert prompts(llmctl, "run", file, "be", "kind", input="a diff\n") == [
        ("user", "Review this.\n\nbe kind\n\na diff")
    ]
    assert prompts(llmctl, "run", write('system = "brief"'), "why?") == [("system", "brief"), ("user", "why?")]


def test_parameter_may_be_json(llmctl: Llmctl, write: Write) -> None:
    file = write('prompt = "{% for w in words %}[{{ w }}]{% endfor %}"')
    assert prompts(llmctl, "run", file, "-p", 'words:=["a","b"]') == [("user", "[a][b]")]


def test_answer_is_kept_like_any_other(llmctl: Llmctl, write: Write) -> None:
    assert llmctl("run", write('model = "echo"\nprompt = "hello"')).stdout == "hello\n"
    assert llmctl("run", write('prompt = "more"'), "-c", "--chat", "last", "-m", "echo").stdout == "more\n"
    assert llmctl("chats", "list").stdout.count("\n") == 1


def test_file_fills_in_for_flags_that_are_not_given(llmctl: Llmctl, write: Write) -> None:
    file = write(
        """
        prompt = "hi"
        model = "nobody:nothing"
        thinking = 2000
        schema = "a int"
        no_stream = true
        options = { temperature = 0.5, seed = 7 }
        """
    )
    body = sent(llmctl, "run", file, "-o", "temperature=1", "--thinking", "high")
    assert (body["temperature"], body["seed"], body["stream"]) == (1, 7, False)
    assert body["reasoning_effort"] == "high"
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["a"]
    assert sent(llmctl, "run", file, "--schema", "b")["response_format"]["json_schema"]["schema"]["required"] == ["b"]
    assert sent(llmctl, "run", file)["reasoning_effort"] == "low"


def test_schema_extract_and_fix_of_a_file_hold(llmctl: Llmctl, write: Write, tmp_path: Path) -> None:
    write('{"type": "object", "required": ["a"]}', "lib/answer.json")
    file = write('prompt = "hi"\nmodel = "echo"\nschema = "answer.json"\nfix = 1', "lib/p.toml")
    replies = "replies:=" + json.dumps('{}\n{"a": 1}')
    done = llmctl("run", file, "-o", replies)
    assert (done.returncode, done.stdout) == (0, '{"a":1}\n')
    table = write('prompt = "hi"\nmodel = "echo"\n[schema]\ntype = "object"\nrequired = ["b"]')
    assert llmctl("run", table, "-o", 'reply={"a":1}').returncode == 11


def test_no_log_of_a_file_keeps_no_text(llmctl: Llmctl, write: Write, env: Mapping[str, str]) -> None:
    assert llmctl("run", write('prompt = "a secret"\nno_log = true\nmodel = "echo"')).stdout == "a secret\n"
    assert llmctl("chats", "list").stdout == ""


def test_attachment_is_looked_for_beside_the_file(llmctl: Llmctl, write: Write) -> None:
    write("the rules", "lib/rules.txt")
    file = write('prompt = "apply"\nattach = ["rules.txt"]', "lib/p.toml")
    assert "the rules" in prompts(llmctl, "run", file)[0][1]


def test_template_is_found_by_its_name(llmctl: Llmctl, write: Write, env: dict[str, str], tmp_path: Path) -> None:
    write(GREET, "config/llmctl/prompts/greet.toml")
    there = env | {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    found = prompts(llmctl, "chat", "-t", "greet", "-p", "language=Latin", "Ann", env=there)
    assert found[1] == ("user", "Greet Ann in Latin.")
    assert prompts(llmctl, "chat", "-t", "greet", "-s", "else", "Ann", env=there)[0] == ("system", "else")
    done = llmctl("chat", "-t", "gret", "hi", env=there)
    assert done.returncode == 3
    assert "did you mean greet?" in done.stderr


def test_verb_behind_run_is_an_argument(llmctl: Llmctl, write: Write) -> None:
    assert prompts(llmctl, "run", write('prompt = "{{ args[1] }}"'), "list", "foo") == [("user", "foo")]


def test_file_with_a_first_line_is_a_program(env: Mapping[str, str], tmp_path: Path) -> None:
    llmctl = tmp_path / "bin" / "llmctl"
    llmctl.parent.mkdir()
    llmctl.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llmctl "$@"\n')
    program = tmp_path / "greet"
    program.write_text('#!/usr/bin/env -S llmctl run\nmodel = "echo"\nprompt = "{{ args[0] }}: {{ stdin }}"\n')
    for file in (llmctl, program):
        file.chmod(0o755)
    path = f"{llmctl.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(program), "Ann", "--jsonl"], input="hi\n", env={**env, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["content"] == "Ann: hi"


@pytest.mark.parametrize(
    ("text", "arguments", "code", "said"),
    [
        (None, (), 3, "No such file"),
        ("prompt = ", (), 2, "is not valid TOML"),
        ('promt = "x"', (), 2, "did you mean prompt?"),
        ("prompt = 1", (), 2, "prompt must be a string, got"),
        ('fix = "x"', (), 2, "fix must be a whole number, got"),
        ("fix = true", (), 2, "fix must be a whole number, got"),
        ("tools = [1]", (), 2, "tools must be a list of strings, got"),
        ('system = "a"\ninstructions = "b"', (), 2, "they are the same"),
        ('tools = ["shell:automatic"]', (), 2, "-T shell:automatic"),
        ('approve = ["shell"]', (), 2, 'no key "approve"'),
        ('prompt = "x"\nattach = ["../secret"]', (), 2, "outside its folder"),
        ('prompt = "x"\nattach = ["/etc/passwd"]', (), 2, "outside its folder"),
        ('prompt = "{{ language }}"', (), 2, "-p language=VALUE"),
        ('prompt = "{{ args[1] }}"', ("one",), 2, "requires argument 2"),
        ('prompt = "{{ x"', (), 2, "template error in"),
        ('prompt = "{{ 1 / 0 }}"', (), 2, "division by zero"),
        ('prompt = "{{ x.y }}"', ("-p", "x:={}"), 2, "no attribute"),
        ('prompt = "{{ language }}"', ("-p", "lang=x"), 2, "did you mean language?"),
        ('prompt = "x"', ("-p", "args=x"), 2, 'no parameter "args"'),
        ('prompt = "x"\n[params]\nn = { description = "how many" }', (), 2, "(how many)"),
        ('prompt = "x"\n[params]\nargs = 1', (), 2, 'invalid parameter name "args"'),
        ('prompt = "x"\n[params]\nn = { defualt = 1 }', (), 2, '"default" and "description"'),
        ('system = "x"', (), 2, "no prompt"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_before_any_call(
    llmctl: Llmctl,
    write: Write,
    env: Mapping[str, str],
    text: str | None,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    file = write(text) if text is not None else "none.toml"
    done = llmctl("run", file, "-m", "echo", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ args.__init__.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% for i in range(10000000) %}x{% endfor %}",
    ],
)
def test_template_cannot_leave_its_sandbox(llmctl: Llmctl, write: Write, template: str) -> None:
    done = llmctl("run", write(f'prompt = """{template}"""'), "-m", "echo", "x")
    assert (done.returncode, done.stdout) == (2, "")


def test_parameter_without_a_prompt_file_is_refused(llmctl: Llmctl) -> None:
    done = llmctl("chat", "-m", "echo", "-p", "a=1", "hi")
    assert done.returncode == 2
    assert "prompt file" in done.stderr


def test_help_names_every_key() -> None:
    words = topic("prompt-files").replace(",", " ").split()
    assert [key for key in definition.KEYS if key not in {*words, "name", "agents"}] == []


# --- prompt files by name, and the command line kept as one


@pytest.fixture
def project(tmp_path: Path, env: dict[str, str]) -> Path:
    """A repository with a prompt file of its own, and a user who has one of the same name and another."""
    env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    files = {
        "repo/.git/HEAD": "ref: refs/heads/main\n",
        "repo/.llmctl/prompts/review.toml": 'description = "of the project"\nmodel = "echo"\nprompt = "project"',
        "config/llmctl/prompts/review.toml": 'prompt = "user"',
        "config/llmctl/prompts/greet.toml": 'model = "echo"\nprompt = "hello"',
        ".llmctl/prompts/outside.toml": 'prompt = "above the repository"',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "repo/src").mkdir()
    return tmp_path / "repo"


def test_run_finds_what_template_finds(llmctl: Llmctl, project: Path) -> None:
    for arguments, answer in ((("run", "review"), "project"), (("run", "greet.toml"), "hello")):
        assert llmctl(*arguments, cwd=project / "src", check=True).stdout == f"{answer}\n"
    assert llmctl("chat", "-t", "review", cwd=project / "src", check=True).stdout == "project\n"
    assert llmctl("run", "review", "-m", "echo", cwd=project.parent, check=True).stdout == "user\n"
    done = llmctl("run", "revew", cwd=project / "src")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == 'llmctl: no prompt file "revew"\nhint: did you mean review, greet?\n'
    assert llmctl("run", "outside", cwd=project / "src").returncode == 3


def test_path_comes_before_a_name_of_run(llmctl: Llmctl, project: Path) -> None:
    (project / "review").write_text('model = "echo"\nprompt = "a path"')
    assert llmctl("run", "review", cwd=project, check=True).stdout == "a path\n"
    assert llmctl("chat", "-t", "review", cwd=project, check=True).stdout == "project\n"


def test_file_of_a_project_permits_no_tool(llmctl: Llmctl, project: Path) -> None:
    (project / ".llmctl/prompts/evil.toml").write_text('model = "echo"\nprompt = "x"\ntools = ["run_command:auto"]')
    done = llmctl("run", "evil", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert 'cannot grant "run_command:auto"' in done.stderr


def test_prompts_are_listed_shown_and_located(llmctl: Llmctl, project: Path, tmp_path: Path) -> None:
    (tmp_path / "config/llmctl/prompts/broken.toml").write_text("promt = 1")
    listed = llmctl("prompts", "list", "--json", cwd=project, check=True).json
    assert [(one["name"], one["where"], one["model"], one["about"]) for one in listed] == [
        ("broken", "user", None, 'cannot be used: "broken.toml": no key "promt"'),
        ("greet", "user", "echo", "hello"),
        ("review", "project", "echo", "of the project"),
    ]
    assert llmctl("prompts", "show", "greet", cwd=project, check=True).stdout == 'model = "echo"\nprompt = "hello"'
    path = project / ".llmctl/prompts/review.toml"
    assert llmctl("prompts", "path", "review", cwd=project, check=True).stdout == f"{path}\n"
    assert llmctl("prompts", "path", check=True).stdout == f"{tmp_path}/config/llmctl/prompts\n"


AWKWARD = '{{ x }} {% raw %} \\ " \'\'\' """\nsecond\tline {#'


@pytest.mark.parametrize(
    "arguments",
    [
        ("plain",),
        (
            "-s",
            "be brief",
            "-o",
            "temperature=0.5",
            "-o",
            'stop:=["a"]',
            "-o",
            "temprature:=1",
            "--thinking",
            "low",
            "hi",
        ),
        ("--schema", "name, age int", "--fix", "2", "--max-cost", "0", "--history", "0", "invent"),
        ("--schema", '{"type": "object", "properties": {"a": {"enum": [null]}}}', "x"),
        ("-T", "time:deny", "-T", "read_file", "--metadata", "a.b=c", "--tag", 'ta"g', "--no-stream", AWKWARD),
        ("-s", AWKWARD, "it's 'quoted'\n'"),
    ],
)
def test_saved_command_line_asks_the_same(
    llmctl: Llmctl, project: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    path = llmctl("chat", "-m", "echo", "--save", "kept", *arguments, cwd=project, check=True).stdout
    assert path == f"{tmp_path}/config/llmctl/prompts/kept.toml\n"
    assert sent(llmctl, "run", "kept", cwd=project) == sent(llmctl, "chat", *arguments, cwd=project)


def test_saved_template_has_its_parameters(llmctl: Llmctl, project: Path) -> None:
    text = "Translate into {{ language }}: {{ stdin }}"
    llmctl("chat", "--save", "tr", "-m", "echo", "-p", "language=French", text, input="not kept", check=True)
    assert llmctl("run", "tr", input="ave", check=True).stdout == "Translate into French: ave\n"
    assert llmctl("run", "tr", "-p", "language=Latin", input="ave").stdout == "Translate into Latin: ave\n"
    llmctl("chat", "-t", "tr", "--save", "short", "-s", "be brief", "-o", "seed=1", check=True)
    body = sent(llmctl, "run", "short", input="ave")
    assert [message["content"] for message in body["messages"]] == ["be brief", "Translate into French: ave"]
    assert body["seed"] == 1


def test_nothing_is_saved_that_a_prompt_file_must_not_hold(llmctl: Llmctl, project: Path, tmp_path: Path) -> None:
    key = "sk-" + "a1B2c3D4" * 5
    (tmp_path / "notes.txt").write_text("x")
    for arguments, said in (
        ((f"my key is {key}",), "the prompt seems to contain a key"),
        (("-o", f"api_key={key}", "x"), "must not hold a secret"),
        (("--tag", key, "x"), "the prompt file seems to contain a key"),
        (("-o", 'stop:=[null]', "x"), "TOML has no null"),
        (("-a", str(tmp_path / "notes.txt"), "x"), "only to files in its folder"),
        (("-c", "x"), "--save and -c cannot be combined"),
        (("-m", "a", "-m", "b", "x"), "--save and several -m cannot be combined"),
        ((), "nothing to save"),
    ):  # fmt: skip
        done = llmctl("chat", "--save", "kept", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert said in done.stderr
    assert not (tmp_path / "config/llmctl/prompts/kept.toml").exists()
    done = llmctl("chat", "--save", "kept", "-T", "time:auto", "-u", "x", check=True)
    assert "pass -T time:auto when you run it" in done.stderr
    assert "not kept, pass it when you run it: --usage" in done.stderr
    assert 'tools = ["time"]' in llmctl("prompts", "show", "kept").stdout


def test_saved_file_is_replaced_only_with_force(llmctl: Llmctl, project: Path) -> None:
    done = llmctl("chat", "--save", "greet", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "llmctl prompts edit greet" in done.stderr
    llmctl("chat", "--save", "greet", "--force", "-m", "echo", "x", check=True)
    assert llmctl("run", "greet", check=True).stdout == "x\n"
    llmctl("chat", "--save", "./here.toml", "-m", "echo", "-a", "src/a.txt", "x", cwd=project, check=True)
    assert (project / "here.toml").read_text() == 'model = "echo"\nprompt = "x"\nattach = ["src/a.txt"]\n'


def test_prompts_save_takes_a_file_stdin_or_a_chat(llmctl: Llmctl, project: Path) -> None:
    llmctl("prompts", "save", "one", "review.toml", cwd=project / ".llmctl/prompts", check=True)
    llmctl("prompts", "save", "two", "--project", input='prompt = "piped"', cwd=project / "src", check=True)
    assert (project / ".llmctl/prompts/two.toml").read_text() == 'prompt = "piped"'
    assert llmctl("prompts", "save", "three", input="promt = 1").returncode == 2
    llmctl("chat", "-m", "echo", "-s", "brief", "-o", "seed=3", "-T", "time:auto", "what {{ is }} it?", check=True)
    llmctl("prompts", "save", "four", "--chat", "last", check=True)
    body = sent(llmctl, "run", "four")
    assert [message["content"] for message in body["messages"]] == ["brief", "what {{ is }} it?"]
    assert (body["seed"], body["tools"][0]["function"]["name"]) == (3, "time")


def test_edited_file_is_checked_before_it_is_saved(llmctl: Llmctl, project: Path, tmp_path: Path) -> None:
    def edit(script: str, name: str, *answers: tuple[str, bytes]) -> tuple[int, str]:
        editor = tmp_path / "editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        command = [*LLMCTL, "prompts", "edit", name]
        return run_on_terminal(command, llmctl.env | {"EDITOR": f"'{editor}' --wait"}, answers, project)

    path = tmp_path / "config/llmctl/prompts/greet.toml"
    code, screen = edit("echo 'bad = 1' > $2", "greet", ("[Y/n]", b"n\n"))
    assert (code, path.read_text()) == (10, 'model = "echo"\nprompt = "hello"')
    assert 'no key "bad"' in screen
    code, screen = edit(
        "grep -q bad $2 && echo 'prompt = \"mended\"' > $2 || echo bad >> $2", "greet", ("[Y/n]", b"\n")
    )
    assert (code, path.read_text()) == (0, 'prompt = "mended"\n')
    assert edit("exit 3", "greet")[0] == 1
    code, screen = edit("", "new")
    assert (code, "nothing saved" in screen) == (0, True)
    assert edit("echo 'prompt = \"n\"' > $2", "new")[0] == 0
    assert (path.parent / "new.toml").read_text() == 'prompt = "n"\n'
