"""``llmctl report``: the file, read as a browser would read it, and the server."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from html.parser import HTMLParser
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from llmctl.store.opening import open_hub
from tests.cli.test_startup import run_program
from tests.fakes.hub_builder import HubBuilder
from tests.harness import LLMCTL, TIMEOUT_S, Llmctl, RunInProcess, require_success, run_on_terminal

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
VOID = {"meta", "link", "input", "br", "img"}
#: Attributes that make a browser fetch or do something.
ACTIVE = {"src", "href", "xlink:href", "action", "formaction", "data", "srcset", "poster", "background", "style"}


class Page(HTMLParser):
    """What a page holds: elements with their attributes, texts by the id of the innermost element that has one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.texts: dict[str | None, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if tag not in VOID:
            self.open.append((tag, values.get("id")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()[0] == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            id = next((id for _, id in reversed(self.open) if id), None)
            self.texts.setdefault(id, []).append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [values for name, values in self.elements if name == tag]

    def ids(self) -> list[str]:
        return [values["id"] or "" for _, values in self.elements if "id" in values]

    def words(self) -> str:
        return " ".join(text for texts in self.texts.values() for text in texts)


@pytest.fixture
def hub(env: Mapping[str, str]) -> Iterator[HubBuilder]:
    """Three requests on two days, a tool, and a chat whose every text wants to be a script."""
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        rows = HubBuilder(database)
        chat = rows.chat("fix")
        rows.turn(chat, "a", "b", duration=600, time_to_first_token=210, cost=0.25, tag="ci", agent="coder")
        failed = {"status": "failed", "error_reason": "rate_limit", "error": EVIL, "tag": EVIL}
        rows.turn(chat, "a", "b", duration=1100, **failed, input_tokens=None, output_tokens=None)
        evil = rows.chat(EVIL, description=EVIL)
        rows.turn(evil, EVIL, EVIL, at="2026-10-06T10:00:00.000+00:00", duration=700, model=EVIL, cost=0.5)
        rows.tool_turn(evil, result=EVIL)
        yield rows


def page(llmctl_in_process: RunInProcess, *flags: str) -> Page:
    done = llmctl_in_process("report", *flags)
    assert done.returncode == 0, done.stderr
    return Page(done.stdout)


def figure(found: Page, label: str) -> str:
    """Return the value of a card at the top."""
    texts = found.texts["main"]
    return texts[texts.index(label) + 1]


def test_totals_are_those_of_stats(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    found = page(llmctl_in_process)
    total = json.loads(llmctl_in_process("stats", "--json").stdout)
    assert figure(found, "Cost") == f"${total['cost']:.2f}" == "$0.75"
    assert figure(found, "Requests") == str(total["requests"]) == "5"
    assert figure(found, "Tokens") == str(total["total_tokens"])
    assert figure(found, "Tool calls") == str(total["tool_calls"]) == "1"
    assert figure(found, "Latency") == f"{total['p50_duration_ms']} ms"
    assert figure(found, "First token") == f"{total['p50_time_to_first_token_ms']} ms"
    assert figure(found, "Failed") == "20 %"
    assert "5 Oct 2026 to 6 Oct 2026" in found.words()


def test_folders_of_a_repository_are_one_project(
    hub: HubBuilder, llmctl_in_process: RunInProcess, tmp_path: Path
) -> None:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    for folder in ("shop", "shop/api", "other"):
        hub.insert("requests", provider="openai", model="gpt-5", cost=0.5, folder=str(tmp_path / folder))
    page = require_success(llmctl_in_process("report"))
    table = page.partition('id="projects')[2].partition("</section>")[0]
    assert "shop" in table
    assert "other" in table
    assert "api" not in table
    assert "shop" not in require_success(llmctl_in_process("report", "--no-chats"))


def test_nothing_in_the_hub_becomes_script_and_nothing_is_fetched(
    hub: HubBuilder, llmctl_in_process: RunInProcess
) -> None:
    text = llmctl_in_process("report").stdout
    found = Page(text)
    assert found.open == []
    assert not {tag for tag, _ in found.elements} & {"script", "img", "iframe", "object", "embed", "base", "audio"}
    assert not [name for _, values in found.elements for name in values if name.startswith("on")]
    targets = {str(values[name]) for _, values in found.elements for name in ACTIVE & set(values)}
    assert targets
    assert all(target.startswith(("#", "data:image/svg+xml,")) for target in targets)
    assert EVIL in found.words()
    assert "49" not in found.texts.get(None, [])
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_policy_forbids_scripts_and_knows_its_own_style(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    import hashlib
    from base64 import b64encode

    text = llmctl_in_process("report").stdout
    policies = [meta["content"] or "" for meta in Page(text).all("meta") if meta.get("http-equiv")]
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert len(policies) == 1
    assert policies[0].startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    assert "unsafe" not in policies[0]


def test_links_lead_somewhere_and_ids_are_unique(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    found = page(llmctl_in_process)
    ids = found.ids()
    assert len(ids) == len(set(ids))
    links = {(a["href"] or "").removeprefix("#") for a in found.all("a")}
    assert links <= set(ids)
    assert {link for link in links if link.startswith("thread-")} == {id for id in ids if id.startswith("thread-")}
    assert len([id for id in ids if id.startswith("thread-")]) == 2
    labels = {label["for"] for label in found.all("label")}
    assert labels <= set(ids)


def test_charts_have_words_and_tables(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    found = page(llmctl_in_process)
    plots = [values for values in found.all("svg") if values.get("class") == "plot"]
    assert len(plots) == 8
    assert all(values["role"] == "img" and values["aria-label"] for values in plots)
    assert len(found.all("figure")) == len(found.all("details")) - len(thinking_and_results(found)) == 8
    assert all(values.get("aria-hidden") == "true" or values.get("role") == "img" or "viewbox" in values
               for values in found.all("svg"))  # fmt: skip


def thinking_and_results(found: Page) -> list[str]:
    return [text for texts in found.texts.values() for text in texts if text in ("thinking", "result")]


def test_headings_landmarks_and_language(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    found = page(llmctl_in_process, "--no-chats")
    assert found.all("html")[0]["lang"] == "en"
    assert len(found.all("h1")) == len(found.all("main")) == len(found.all("header")) == len(found.all("footer")) == 1
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(th.get("scope") in ("row", "col") for th in found.all("th"))


def test_no_chats_leaves_out_all_texts_and_names(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    chat = hub.chat("private name", description="private matter")
    hub.turn(chat, "private words", "private answer", status="failed", error="private error", cost=9.0, duration=9999)
    assert {"name", "words", "error"} <= set(re.findall("private (\\w+)", llmctl_in_process("report").stdout))
    text = llmctl_in_process("report", "--no-chats").stdout
    assert "private" not in text
    assert chat["id"][:8] not in text
    assert "thread-" not in text
    assert figure(Page(text), "Requests") == "6"


def test_one_chat_stands_in_for_the_newest(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    found = page(llmctl_in_process, "--chat", "fix")
    threads = [id for id in found.ids() if id.startswith("thread-")]
    assert len(threads) == 1
    assert "b" in found.words().split()


def test_keys_in_a_chat_are_masked(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    key = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3
    hub.turn(hub.chat(f"uses {key}"), f"my key is {key}", f"yes, {key}")
    text = llmctl_in_process("report").stdout
    assert key not in text
    assert "my key is" in text


def test_long_texts_are_cut_and_say_so(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    chat = hub.chat("long")
    for _ in range(8):
        hub.turn(chat, "y" * 30_000, "x" * 30_000)
    text = llmctl_in_process("report").stdout
    assert len(text) < 400_000
    assert "(30,000 characters in all)" in text
    assert "more messages: llmctl chats show" in text


def test_empty_hub_says_so(llmctl_in_process: RunInProcess, env: Mapping[str, str]) -> None:
    open_hub(env["LLMCTL_DB"], "create").close()
    found = page(llmctl_in_process)
    assert "Nothing in this range yet" in found.words()
    assert found.all("svg")
    assert not found.all("table")


def test_requests_without_price_or_time_draw_no_zeros(llmctl_in_process: RunInProcess, env: Mapping[str, str]) -> None:
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        rows = HubBuilder(database)
        rows.turn(rows.chat("x"), "a", "b", duration=None)
    found = page(llmctl_in_process)
    assert figure(found, "Cost") == "–"
    assert "without 1 request of unknown price" in found.words()
    assert figure(found, "Latency") == "–"
    assert "tab-cost" not in found.ids()
    assert "No requests were timed." in found.words()


@pytest.mark.parametrize("theme", ["system", "light", "dark"])
def test_theme_is_that_of_the_settings(hub: HubBuilder, llmctl_in_process: RunInProcess, theme: str) -> None:
    assert llmctl_in_process("settings", "set", "theme", theme).returncode == 0
    found = page(llmctl_in_process, "--no-chats")
    assert found.all("html")[0]["data-theme"] == theme
    scheme = next(meta["content"] for meta in found.all("meta") if meta.get("name") == "color-scheme")
    assert scheme == {"system": "light dark"}.get(theme, theme)


@pytest.mark.parametrize(
    ("flags", "requests", "words"),
    [
        (["--in", "2026-10-05"], "2", "5 Oct 2026"),
        (["--since", "2026-10-06"], "3", "6 Oct 2026 to"),
        (["--in", "2026-10-06", "--tz", "Pacific/Kiritimati"], "2", "Days of Pacific/Kiritimati"),
        (["--in", "2026-10"], "5", "1 Oct 2026 to"),
        (["--in", "2026"], "5", "1 Jan 2026 to"),
    ],
)
def test_ranges(hub: HubBuilder, llmctl_in_process: RunInProcess, flags: list[str], requests: str, words: str) -> None:
    found = page(llmctl_in_process, "--no-chats", *flags)
    assert figure(found, "Requests") == requests
    assert words in found.words()


def test_time_without_requests_is_drawn_as_such(hub: HubBuilder, llmctl_in_process: RunInProcess) -> None:
    hub.turn(hub.chat("later"), "a", "b", at="2026-10-20T10:00:00.000+00:00", cost=0.1)
    rows = page(llmctl_in_process, "--no-chats").words()
    for day in range(5, 21):
        assert f"{day} Oct 2026" in rows


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "1"], "--port requires --serve"),
        (["--serve", "--output", "x.html"], "cannot be combined"),
        (["--serve", "--port", "70000"], "--port must be 0 to 65535"),
        (["--chat", "fix", "--no-chats"], "cannot be combined"),
        (["--in", "today", "--since", "1d"], "--in cannot be combined"),
        (["--in", "whenever"], 'cannot parse the period "whenever"'),
        (["--output", "no/where.html"], "folder does not exist"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    hub: HubBuilder, llmctl_in_process: RunInProcess, flags: list[str], words: str
) -> None:
    done = llmctl_in_process("report", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_file_is_private_and_whole(hub: HubBuilder, llmctl_in_process: RunInProcess, tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    done = llmctl_in_process("report", "--output", str(place))
    assert (done.returncode, done.stdout) == (0, "")
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.read_text(encoding="utf-8").endswith("</html>\n")
    assert f'wrote "{place}"' in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if "report" in path.name) == ["report.html"]


def test_a_file_needs_no_server_and_no_writer(hub: HubBuilder, env: Mapping[str, str], tmp_path: Path) -> None:
    place = str(tmp_path / "report.html")
    loaded = run_program("report", "--output", place, LLMCTL_DB=env["LLMCTL_DB"], HOME=env["HOME"])
    assert not loaded & {"http.server", "http.client", "httpx", "sqlite_utils", "asyncio", "pydantic", "rich"}


def test_terminal_is_spared_the_markup(hub: HubBuilder, env: Mapping[str, str]) -> None:
    code, screen = run_on_terminal([*LLMCTL, "report"], env)
    assert code == 2
    assert "--output report.html" in screen
    assert "<!doctype" not in screen


def test_no_hub_is_exit_4(llmctl_in_process: RunInProcess) -> None:
    assert llmctl_in_process("report").returncode == 4
    assert llmctl_in_process("report", "--serve").returncode == 4


class Served:
    """A running ``report --serve``."""

    def __init__(self, env: Mapping[str, str], *flags: str) -> None:
        self.running = Llmctl(dict(env), env["HOME"]).start("report", "--serve", *flags)
        self.url = urlsplit(self.running.wait_for_output("\n").strip())

    def ask(self, path: str = "", method: str = "GET", **headers: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self.url.port or 0, timeout=TIMEOUT_S)
        with closing(connection):
            target = path if path.startswith("/") else self.url.path + path
            connection.putrequest(method, target, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()


@pytest.fixture
def served(hub: HubBuilder, env: Mapping[str, str]) -> Iterator[Served]:
    found = Served(env)
    try:
        yield found
    finally:
        if found.running.process.poll() is None:
            found.running.kill()


@pytest.mark.slow
def test_serve_answers_anew_reads_threads_and_ends_on_a_signal(hub: HubBuilder, served: Served) -> None:
    assert served.url.hostname == "127.0.0.1"
    assert re.fullmatch("/[\\w-]{20,}/", served.url.path)
    status, headers, text = served.ask()
    assert (status, headers["Cache-Control"], headers["X-Content-Type-Options"]) == (200, "no-store", "nosniff")
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert figure(Page(text), "Requests") == "5"
    hub.turn(hub.chat("new"), "a", "b")
    assert figure(Page(served.ask()[2]), "Requests") == "6"
    assert figure(Page(served.ask("?in=2026-10-05")[2]), "Requests") == "2"
    # An open connection that asks nothing must not keep others waiting.
    with socket.create_connection(("127.0.0.1", served.url.port or 0)):
        address = next(a["href"] or "" for a in Page(text).all("a") if "/chat/" in (a["href"] or ""))
        status, _, thread = served.ask(address)
    assert (status, Page(thread).open) == (200, [])
    assert "<script" not in thread
    assert served.ask(method="HEAD")[2] == ""
    done = served.running.kill(signal.SIGINT)
    assert done.returncode == -signal.SIGINT
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_serve_refuses_foreign_hosts_and_origins(served: Served) -> None:
    port, path = served.url.port, served.url.path
    refused = {
        "another name": served.ask(Host=f"evil.example:{port}"),
        "another port": served.ask(Host="127.0.0.1:1"),
        "no secret": served.ask("/"),
        "a wrong secret": served.ask(path[:-3] + "xx/"),
        "next to it": served.ask(f"{path}../hub.db"),
        "another site": served.ask(**{"Sec-Fetch-Site": "cross-site"}),
        "a post": served.ask(method="POST"),
        "a delete": served.ask(method="DELETE"),
        "no such chat": served.ask("chat/nope"),
        "no such period": served.ask("?in=whenever"),
    }
    codes = {name: answer[0] for name, answer in refused.items()}
    assert codes == {
        "another name": 421, "another port": 421, "no secret": 404, "a wrong secret": 404, "next to it": 404,
        "another site": 403, "a post": 501, "a delete": 501, "no such chat": 404, "no such period": 400,
    }  # fmt: skip
    assert not [name for name, answer in refused.items() if "fix" in answer[2]]
    assert served.ask(Host=f"localhost:{port}")[0] == 200
    with closing(socket.socket()) as other:
        other.settimeout(2)
        assert other.connect_ex((other_address(), port)) != 0


def other_address() -> str:
    """Return an address of this machine that is not loopback, or one that leads nowhere."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "192.0.2.1"
        address: str = probe.getsockname()[0]
        return address


@pytest.mark.slow
def test_serve_with_no_chats_has_no_threads(hub: HubBuilder, env: Mapping[str, str]) -> None:
    served = Served(env, "--no-chats")
    try:
        id = hub.database.value("SELECT id FROM {chats} WHERE name = 'fix'")
        assert served.ask(f"chat/{id}")[0] == 404
        assert "/chat/" not in served.ask()[2]
    finally:
        served.running.kill()


@pytest.mark.slow
def test_a_port_that_is_taken_is_exit_6(hub: HubBuilder, env: Mapping[str, str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = Llmctl(dict(env), env["HOME"])("report", "--serve", "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout) == (6, "")
    assert "cannot listen on port" in done.stderr


def test_report_opens_in_the_browser(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    require_success(llmctl("chat", "-m", "echo", "hi"))
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o700)
    own = llmctl.with_env(BROWSER=str(browser), TMPDIR=str(tmp_path))
    for output in ([], ["--output", "mine.html"]):
        require_success(own("report", "--open", *output))
        page = Path(seen.read_text().strip().removeprefix("file://"))
        assert page.parent == tmp_path
        assert page.stat().st_mode & 0o077 == 0
        assert "<h1>" in page.read_text()


def test_served_report_marks_the_range_of_its_flags(llmctl: Llmctl) -> None:
    require_success(llmctl("chat", "-m", "echo", "hi"))
    for flags, name in (([], "Everything"), (["--in", "this-month"], "This month"), (["--since", "7d"], "7 days")):
        with llmctl.start("report", "--serve", *flags) as serving:
            url = serving.wait_for_output("/\n").split()[0]
            with urlopen(url) as page:
                marked = re.findall(r'aria-current="page">([^<]*)<', page.read().decode())
        assert marked == [name]
