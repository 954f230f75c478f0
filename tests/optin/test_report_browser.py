"""The report in Chromium (Debian: ``apt-get install chromium``), by keyboard, on small and large screens."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.opening import open_hub
from tests.benchmarks.hub import make
from tests.benchmarks.year import Year
from tests.cli.test_report import EVIL
from tests.fakes import npm
from tests.fakes.hub_builder import HubBuilder
from tests.harness import Llmctl, RunningProcess, build_env

PLAYWRIGHT = "playwright-core@1.65.1"
SESSION = Path(__file__).with_name("report_session.mjs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A year of use, and a chat whose every text wants to be a script."""
    if not shutil.which("chromium"):
        npm.skip("chromium is not installed")
    folder = tmp_path_factory.mktemp("report")
    (folder / "node_modules").symlink_to(npm.packages(PLAYWRIGHT) / "node_modules")
    shutil.copy(SESSION, folder)
    make(str(folder / "hub.db"), Year(300, 3_000, 3_000, 100, "2026-11-20"))
    with closing(open_hub(str(folder / "hub.db"), "write")) as database:
        rows = HubBuilder(database, "2026-11-20T12:00:00.000+00:00")
        chat = rows.chat(EVIL, description=EVIL)
        rows.turn(chat, EVIL, f"{EVIL}\n```html\n{EVIL}\n```", model=EVIL, tag=EVIL, cost=9.0, duration=99_999)
        rows.tool_turn(chat, result="wide " * 200 + "w" * 500)
    return folder


@pytest.fixture(scope="module")
def llmctl(folder: Path) -> Llmctl:
    return Llmctl(build_env(str(folder), LLMCTL_DB=str(folder / "hub.db")), str(folder))


@pytest.fixture(scope="module")
def report(folder: Path, llmctl: Llmctl) -> str:
    assert llmctl("report", "--output", "report.html").returncode == 0
    return (folder / "report.html").as_uri()


@pytest.fixture
def served(llmctl: Llmctl) -> Iterator[RunningProcess]:
    running = llmctl.start("report", "--serve")
    yield running
    running.kill()


def look(folder: Path, address: str, width: int = 1440, scheme: str = "light", motion: str = "reduce") -> Any:
    wanted = {"width": width, "scheme": scheme, "motion": motion, "shot": str(folder / f"{width}-{scheme}.png")}
    command = ["node", SESSION.name, shutil.which("chromium") or "", json.dumps(wanted), address]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def brightness(color: str) -> int:
    return sum(int(part) for part in color.removeprefix("rgb(").rstrip(")").split(","))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_report_is_readable(folder: Path, report: str, width: int, scheme: str) -> None:
    seen = look(folder, report, width, scheme)
    assert seen["console"] == []
    assert seen["requests"] == [report]
    assert seen["dialogs"] == 0
    assert (seen["overflow"], seen["thread_overflow"]) == (0, 0)
    assert (brightness(seen["paper"]) > 600) == (scheme == "light")
    assert seen["contrasts"][0][0] >= 4.5, seen["contrasts"]
    assert seen["load_ms"] < 1000
    assert (seen["first_focus"], seen["skipped_to"]) == ("Skip to content", "#main")
    assert (seen["tab"], seen["panels"], seen["table"]) == ("tab-tokens", [False, True], True)
    assert seen["focus_ring"] == "solid"
    assert (seen["threads"], seen["report_behind_thread"], seen["back"], seen["landmarks"]) == (1, 0, True, 1)
    assert seen["smooth"] == "auto"


def test_motion_is_only_for_those_who_want_it(folder: Path, report: str) -> None:
    assert look(folder, report, motion="no-preference")["smooth"] == "smooth"


def test_theme_of_the_hub_overrules_the_reader(folder: Path, llmctl: Llmctl) -> None:
    llmctl("settings", "set", "theme", "dark")
    try:
        assert llmctl("report", "--output", "dark.html").returncode == 0
    finally:
        llmctl("settings", "unset", "theme")
    assert brightness(look(folder, (folder / "dark.html").as_uri(), scheme="light")["paper"]) < 200


def test_served_report_is_the_same_and_leads_to_threads(folder: Path, served: RunningProcess) -> None:
    address = served.wait_for_output("\n").strip()
    seen = look(folder, address, 360)
    assert seen["console"] == []
    assert {url.startswith(address) for url in seen["requests"]} == {True}
    assert (seen["dialogs"], seen["overflow"], seen["thread_overflow"]) == (0, 0, 0)
    assert (seen["threads"], seen["back"]) == (1, True)
