"""npm packages for tests against other programs; installed in a cache folder, never in the project."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import pytest


def cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "llmctl-tests"


def packages(*wanted: str, runs_scripts: bool = False) -> Path:
    """Return a folder whose ``node_modules`` holds these packages (``name@version``); skip the test without npm.

    ``runs_scripts``: the packages fetch their program when they are installed.
    """
    for program in ("node", "npm"):
        if not shutil.which(program):
            skip(f"{program} is not installed")
    place = cache_folder() / (
        "npm-" + hashlib.sha256(" ".join([*sorted(wanted), *["scripts"] * runs_scripts]).encode()).hexdigest()[:16]
    )
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
        try:
            _install(draft, wanted, runs_scripts)
            _put_in_place(draft, place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return place


def skip(why: str) -> None:
    """Skip a test visibly: its subject is untested."""
    warnings.warn(f"NOT TESTED, {why}", stacklevel=3)
    pytest.skip(f"NOT TESTED: {why}")


def _install(folder: Path, wanted: tuple[str, ...], runs_scripts: bool) -> None:
    (folder / "package.json").write_text('{"private": true}\n')
    flags = ["--no-audit", "--no-fund", "--legacy-peer-deps", *(() if runs_scripts else ("--ignore-scripts",))]
    command = ["npm", "install", *flags, *wanted]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        skip(f"npm could not install {', '.join(wanted)} in five minutes")
    if done.returncode:
        skip(f"npm could not install {', '.join(wanted)}: {done.stderr.strip()[-300:]}")


def _put_in_place(draft: Path, place: Path) -> None:
    try:
        os.rename(draft, place)
    except OSError:
        if not place.is_dir():  # unless another process was faster
            raise
