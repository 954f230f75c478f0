"""Keys: where they come from, and which host may get which."""

from __future__ import annotations

import codecs
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import keyring
import keyring.backend
import keyring.backends.fail
import pytest

from llmctl.core.errors import ConfigError, StorageError
from llmctl.engine.connections import keys
from llmctl.engine.connections.keys import (
    first_set_variable,
    is_reference,
    pick_key,
    resolve,
    store_key_file,
    withheld_key_note,
)
from llmctl.providers import PROVIDERS

OPENAI = PROVIDERS.load("openai")
GROQ = PROVIDERS.load("groq")
OLLAMA = PROVIDERS.load("ollama")
COMPATIBLE = PROVIDERS.load("compatible")
PATH = {"PATH": os.environ["PATH"]}


def find(reference: Any, env: dict[str, str] = PATH, home: str = "/nowhere", **more: Any) -> Any:
    return resolve(reference, env=env, home=home, **more)


class Ring(keyring.backend.KeyringBackend):
    priority = 1

    def get_password(self, service: Any, username: Any) -> Any:
        return {("llmctl", "work"): "sk-ring"}.get((service, username))

    def set_password(self, service: Any, username: Any, password: Any) -> None:
        raise NotImplementedError

    def delete_password(self, service: Any, username: Any) -> None:
        raise NotImplementedError


@pytest.fixture
def ring() -> Iterator[Any]:
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


# Where a key comes from


def test_env_key_is_found_and_stripped() -> None:
    key = find("env:MY_KEY", {"MY_KEY": " sk-1\n"})
    assert (key.value, key.reference, key.note) == ("sk-1", "env:MY_KEY", None)


def test_repr_of_a_key_does_not_show_it() -> None:
    assert "sk-1" not in repr(find("env:MY_KEY", {"MY_KEY": "sk-1"}))


@pytest.mark.parametrize("env", [{}, {"MY_KEY": " "}])
def test_env_key_missing_off_the_terminal_hints_at_stdin(env: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match='"MY_KEY" is not set') as caught:
        find("env:MY_KEY", env)
    assert "--key-stdin" in caught.value.hint
    assert "cron" in caught.value.hint


def test_env_key_missing_on_a_terminal_hints_at_export() -> None:
    with pytest.raises(ConfigError) as caught:
        find("env:MY_KEY", {}, on_terminal=True)
    assert "export MY_KEY" in caught.value.hint
    assert "cron" not in caught.value.hint


def test_command_key_is_the_first_line() -> None:
    assert find("command:printf 'sk-2\\nuser: me\\n'").value == "sk-2"


def test_command_key_sees_the_environment_and_no_stdin() -> None:
    assert find('command:printf %s "$SECRET$(cat)"', PATH | {"SECRET": "sk-3"}).value == "sk-3"


def test_command_key_failing_shows_what_the_command_said() -> None:
    with pytest.raises(ConfigError, match="failed with status 7: vault is locked") as caught:
        find("command:echo sk-half; echo vault is locked >&2; exit 7")
    assert "sk-half" not in str(caught.value).replace("echo sk-half", "")


def test_command_key_saying_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match='"command:true"'):
        find("command:true")


def test_command_key_taking_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "COMMAND_TIMEOUT_S", 0.1)
    with pytest.raises(ConfigError, match="did not finish"):
        find("command:sleep 60")


def test_file_key_is_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("  sk-4 \nsecond\n")
    file.chmod(0o600)
    key = find(f"file:{file}")
    assert (key.value, key.note) == ("sk-4", None)


#: A key as editors and shells write it.
AS_WRITTEN = {
    "Notepad": "sk-abc123456".encode("utf-8-sig"),
    "Notepad, two lines": "sk-abc123456\r\nsecond".encode("utf-8-sig"),
    "PowerShell": "sk-abc123456\r\n".encode("utf-16"),
    "UTF-16 big endian": codecs.BOM_UTF16_BE + "sk-abc123456\n".encode("utf-16-be"),
    "UTF-16 without mark": "sk-abc123456\r\n".encode("utf-16-le"),
    "UTF-16 big endian without mark": "sk-abc123456".encode("utf-16-be"),
    "CRLF": b"sk-abc123456\r\n",
    "CR": b"sk-abc123456\rsecond",
    "blank line first": b"\n\n  sk-abc123456 \n",
    "no-break space": "sk-abc123456\xa0\n".encode(),
}


@pytest.mark.parametrize("content", AS_WRITTEN.values(), ids=AS_WRITTEN)
def test_key_is_read_without_what_editors_put_around_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    assert find(f"file:{file}").value == "sk-abc123456"
    assert find(f"command:cat {file}").value == "sk-abc123456"


def test_env_key_is_read_without_a_byte_order_mark() -> None:
    assert find("env:MY_KEY", {"MY_KEY": "\ufeffsk-abc123456\r\n"}).value == "sk-abc123456"


def test_file_key_in_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-5")
    assert find("file:~/key", home=str(tmp_path)).value == "sk-5"


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_file_key_that_others_can_read_is_noted(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    file.write_text("sk-6")
    file.chmod(mode)
    key = find(f"file:{file}")
    assert key.value == "sk-6"
    assert "chmod 600" in key.note


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe\x00key"])
def test_file_key_missing_empty_or_binary_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=str(file)):
        find(f"file:{file}")


def test_keyring_key_is_found(ring: Any) -> None:
    ring(Ring())
    assert find("keyring:work").value == "sk-ring"
    with pytest.raises(ConfigError, match='"keyring:other"'):
        find("keyring:other")


def test_keyring_that_is_not_there_gives_a_hint(ring: Any) -> None:
    ring(keyring.backends.fail.Keyring())
    with pytest.raises(ConfigError, match="no keyring") as caught:
        find("keyring:work")
    assert "--key-stdin" in caught.value.hint


def test_keyring_package_missing_gives_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "llmctl.engine.connections.system_keyring", raising=False)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match='"keyring" package') as caught:
        find("keyring:work")
    assert "install keyring" in caught.value.hint
    assert "llmctl[" not in caught.value.hint


@pytest.mark.parametrize("value", ["sk-secret", "sk-secret:more", "env", "env:", "vault:x", ""])
def test_value_in_place_of_a_reference_is_refused_and_not_shown(value: str) -> None:
    assert not is_reference(value)
    with pytest.raises(ConfigError) as caught:
        find(value)
    assert not value or value not in str(caught.value) + (caught.value.hint or "").replace("env:VARIABLE", "")


@pytest.mark.parametrize("value", ["a\nb", "a\x07b", "sk-…", "a\x7f"])
def test_key_that_no_header_can_carry_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ConfigError, match='"env:MY_KEY"') as caught:
        find("env:MY_KEY", {"MY_KEY": value})
    assert value not in str(caught.value)


# Keys that we store


def test_store_key_file_is_private_and_readable_again(tmp_path: Path) -> None:
    path = str(tmp_path / "data" / "keys" / "hub" / "work")
    before = os.umask(0)
    try:
        store_key_file(path, "sk-7")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(tmp_path / "data" / "keys").st_mode) == 0o700
    assert find(f"file:{path}").value == "sk-7"
    assert os.listdir(os.path.dirname(path)) == ["work"]


def test_store_key_file_closes_an_open_folder_and_replaces_the_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "work").write_text("old")
    (tmp_path / "work").chmod(0o644)
    store_key_file(str(tmp_path / "work"), "new")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o600
    assert (tmp_path / "work").read_text() == "new\n"


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\rb", "a\0b", "é"])
def test_store_key_file_refuses_what_is_no_key(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError):
        store_key_file(str(tmp_path / "keys" / "hub" / "work"), value)
    assert not (tmp_path / "keys").exists()


def test_key_file_path_is_one_for_each_hub_and_connection(tmp_path: Path) -> None:
    hubs = [str(tmp_path / name) for name in ("a.db", "b.db")]
    paths = [keys.key_file_path("/keys", hub, id) for hub in hubs for id in ("1", "2")]
    assert len(set(paths)) == 4
    (tmp_path / "link.db").symlink_to(hubs[0])
    assert keys.key_file_path("/keys", str(tmp_path / "link.db"), "1") == paths[0]


def test_store_key_file_says_what_hinders_it_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with pytest.raises(StorageError, match="cannot write the key file"):
        store_key_file(str(tmp_path / "work"), "sk-9")
    assert os.listdir(tmp_path) == ["work"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        store_key_file(str(tmp_path / "file" / "work"), "sk-9")


def test_store_key_file_is_never_seen_half_written(tmp_path: Path) -> None:
    path = str(tmp_path / "k")
    values = {"a" * 5000, "b" * 5000}
    threads = [Thread(target=lambda v=value: [store_key_file(path, v) for _ in range(20)]) for value in values]
    store_key_file(path, "a" * 5000)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert (tmp_path / "k").read_text().strip() in values
    assert os.listdir(tmp_path) == ["k"]


# Which host may get which key

ENV = {"OPENAI_API_KEY": "sk-o", "GROQ_API_KEY": "gsk-g", "OLLAMA_API_KEY": "ol"}


def test_own_variable_goes_to_the_own_host() -> None:
    assert pick_key(OPENAI, OPENAI.base_url, None, ENV) == "env:OPENAI_API_KEY"
    assert pick_key(OPENAI, "https://API.openai.com/v1/", None, ENV) == "env:OPENAI_API_KEY"
    assert pick_key(OPENAI, OPENAI.base_url, None, {"OPENAI_API_KEY": " "}) is None


@pytest.mark.parametrize(
    "url",
    [
        GROQ.base_url,
        "https://proxy.example/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com@proxy.example/v1",
        "https://proxy.example\\@api.openai.com/v1",
        "https://api.openai.com.proxy.example/v1",
        "http://localhost:8080/v1",
        "",
    ],
)
def test_own_variable_goes_to_no_other_host(url: Any) -> None:
    assert pick_key(OPENAI, url, None, ENV) is None
    assert "OPENAI_API_KEY is not sent" in withheld_key_note(OPENAI, url, ENV)


def test_nothing_is_withheld_where_the_key_goes_or_none_is_set() -> None:
    assert withheld_key_note(OPENAI, OPENAI.base_url, ENV) is None
    assert withheld_key_note(OPENAI, GROQ.base_url, {}) is None


@pytest.mark.parametrize("variable", ["OPENAI_API_BASE", "OPENAI_BASE_URL"])
def test_own_variable_goes_where_the_own_base_variable_points(variable: str) -> None:
    env = ENV | {variable: "https://proxy.example/v1"}
    assert pick_key(OPENAI, "https://proxy.example/v1", None, env) == "env:OPENAI_API_KEY"
    assert pick_key(OPENAI, "https://proxy.example/v1/", None, env) == "env:OPENAI_API_KEY"
    assert pick_key(OPENAI, "http://proxy.example/v1", None, env) is None
    assert pick_key(OPENAI, "https://proxy.example:444/v1", None, env) is None
    assert pick_key(GROQ, "https://proxy.example/v1", None, env) is None


def test_base_variable_that_is_not_in_effect_opens_nothing() -> None:
    env = ENV | {"OPENAI_API_BASE": "https://one.example", "OPENAI_BASE_URL": "https://two.example"}
    assert pick_key(OPENAI, "https://two.example", None, env) is None


def test_caller_may_know_that_the_base_came_from_the_environment() -> None:
    assert pick_key(OPENAI, "https://proxy.example/v1", None, ENV, base_from_env=True) == "env:OPENAI_API_KEY"


def test_local_provider_gets_its_variable_on_this_machine_only() -> None:
    assert pick_key(OLLAMA, "http://127.0.0.1:9999/v1", None, ENV) == "env:OLLAMA_API_KEY"
    assert pick_key(OLLAMA, "https://ollama.com/v1", None, ENV) == "env:OLLAMA_API_KEY"
    assert pick_key(OLLAMA, "http://gpu.example:11434/v1", None, ENV) is None


def test_provider_without_keys_gets_none() -> None:
    assert pick_key(replace(OPENAI, auth="none"), OPENAI.base_url, None, ENV) is None
    assert pick_key(PROVIDERS.load("echo"), "echo://localhost", None, ENV) is None


@pytest.mark.parametrize("reference", ["env:MY_KEY", "file:/k", "command:pass x", "keyring:x", "env:OPENAI_API_KEY"])
def test_explicit_reference_goes_to_an_unknown_host(reference: str) -> None:
    assert pick_key(COMPATIBLE, "https://proxy.example/v1", reference, {}) == reference
    assert pick_key(OPENAI, "http://localhost:8080/v1", reference, {}) == reference


@pytest.mark.parametrize("provider", [GROQ, OPENAI, COMPATIBLE], ids=lambda provider: provider.name)
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY"])
def test_explicit_variable_of_one_provider_is_refused_on_the_host_of_another(provider: Any, variable: str) -> None:
    with pytest.raises(ConfigError, match="belongs to groq") as caught:
        pick_key(provider, GROQ.base_url, f"env:{variable}", ENV)
    assert variable in str(caught.value)
    assert "GROQ_API_KEY" in caught.value.hint


def test_explicit_variable_is_taken_on_the_host_it_belongs_to() -> None:
    assert pick_key(COMPATIBLE, GROQ.base_url, "env:GROQ_API_KEY", ENV) == "env:GROQ_API_KEY"
    assert pick_key(COMPATIBLE, GROQ.base_url, "env:MY_KEY", ENV) == "env:MY_KEY"


def test_explicit_variable_follows_the_base_variable_of_its_provider() -> None:
    env = ENV | {"OPENAI_API_BASE": GROQ.base_url}
    assert pick_key(OPENAI, GROQ.base_url, "env:OPENAI_API_KEY", env) == "env:OPENAI_API_KEY"


def test_first_set_passes_over_blank_variables() -> None:
    assert first_set_variable(("A", "B", "C"), {"A": "", "B": " ", "C": "x"}) == "C"
    assert first_set_variable(("A",), {}) is None


def test_keys_loads_no_program_starter_and_no_keyring_before_one_is_named() -> None:
    import subprocess

    code = "import sys; from llmctl.engine.connections import keys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert keys.__name__ in loaded
    assert not {"subprocess", "keyring", "llmctl.tools.process"} & set(loaded)
