"""Numbers that JSON and clocks do not have are refused at every door."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmctl import Hub
from llmctl.core.errors import UsageError
from tests.harness import RunInProcess

#: Command lines with ``@`` where a number goes.
DOORS = [
    "chat -m echo --max-cost @ hi",
    "chat -m echo --timeout @ hi",
    "chat -m echo --wait @ hi",
    "chat -m echo -o temperature:=@ hi",
    "chat -m echo --metadata x:=@ hi",
    'chat -m echo --schema {"type":"object","minimum":@} hi',
    "embed -m echo --max-cost @ hi",
    "image -m echo --timeout @ hi",
    "settings set budget.day @",
    "settings set timeout @",
    "settings set permission.expiry @",
    "model price openai:gpt-4o --set input=@",
    "model alias fast echo -o temperature:=@",
    "metric add m @",
    "metric add m 1 --dimension x:=@",
    "tool invoke time --timeout @",
    "tool invoke time --arg zone:=@",
    'tool add t --type command --command x --schema {"minimum":@}',
    'tool add t --type command --command x --schema {} --data {"x":@}',
    'tool edit time --allow {"glob":{"x":@}}',
    'connection add c --provider compatible --base-url http://127.0.0.1:9 --model m --data {"x":@}',
    "connection add c --provider compatible --base-url http://127.0.0.1:9 --model m --option x:=@",
    "job run --timeout @ -- true",
    "job wait JOB --timeout @",
    "agent create a --model echo --option x:=@",
]


@pytest.mark.parametrize("door", DOORS)
def test_number_that_is_none_is_refused(llmctl_in_process: RunInProcess, door: str) -> None:
    llmctl_in_process("init", "--no-detect", "--no-prisma")
    for number in ("NaN", "Infinity", "1e999"):
        done = llmctl_in_process(*door.replace("@", number).split())
        assert (done.returncode, done.stdout) == (2, ""), done


LINES = ["max_cost = nan", "timeout = inf", "[options]\ntemperature = nan", "[metadata]\nx = inf"]


@pytest.mark.parametrize("line", LINES)
def test_file_with_a_number_that_is_none_is_refused(llmctl_in_process: RunInProcess, tmp_path: Path, line: str) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(f'model = "echo"\nprompt = "hi"\n{line}\n')
    assert llmctl_in_process("run", str(file)).returncode == 2
    file.write_text(f'name = "odd"\nmodel = "echo"\n{line}\n')
    assert llmctl_in_process("agent", "apply", str(file)).returncode == 2


def test_program_with_a_number_that_is_none_is_refused() -> None:
    odd = float("nan")
    with Hub(":memory:", env={}) as hub:
        chat = hub.create_chat(model="echo")
        for how in ({"options": {"x": odd}}, {"metadata": {"x": [odd]}}, {"timeout": odd}, {"max_cost": odd}):
            with pytest.raises(UsageError):
                chat.ask("hi", **how)
        with pytest.raises(UsageError):
            hub.create_chat(model="echo", metadata={"x": odd})
