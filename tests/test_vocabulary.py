"""Names are the terms of the field: no metaphors, and functions that say what they do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "llmctl"
TREES = {path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}

#: Words that say nothing to somebody who searches for the term.
BANNED = """
asker begun care doorway ears erasing errand errands gone guest habits harmless heed hindsight hunt kept kin
lend lender manner manners mend parties party purse reach said surroundings teach told unspoken wake wish wishes
"""
#: Past participles that do not end in "ed". Those that are verbs too (read, put, cut, run, left) may name a function.
IRREGULAR = """
begun bought broken brought built came caught chosen come done drawn felt found given gone got grown heard held
hidden kept known laid lain led lent lost made meant met paid ran said sat seen sent shown slept sold spent
spoken stood struck sworn taken thought told torn understood went won worn written
"""
#: Words in "ed" that are nouns, verbs, or the usual name of a predicate or a builtin.
NO_PARTICIPLES = """
bed bleed breed closed disabled embed enabled exceed feed indexed need nested proceed red reversed seed shared
shed sorted speed succeed supported wed
"""
MOST_PARTICIPLES = 40


def split_words(name: str) -> list[str]:
    """Return the words of a snake_case or CamelCase name, in lower case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_").split("_")


def is_participle(name: str) -> bool:
    """Return whether a function's name is nothing but a past participle."""
    words = split_words(name)
    return len(words) == 1 and (
        words[0] in IRREGULAR.split() or (words[0].endswith("ed") and words[0] not in NO_PARTICIPLES.split())
    )


def definitions(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, str]]:
    """Yield the name of every class or function, and where it stands."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                name = node.name  # type: ignore[attr-defined]
                yield name, f"{path}:{node.lineno} {name}"  # type: ignore[attr-defined]


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_names_are_terms_of_the_field() -> None:
    modules = [(path.stem, str(path)) for path in TREES]
    assert modules
    banned = set(BANNED.split())
    wrong = [
        place
        for name, place in [*modules, *definitions((*FUNCTIONS, ast.ClassDef))]
        if banned.intersection(split_words(name))
    ]
    assert not wrong


def test_functions_are_named_by_verbs() -> None:
    found = [place for name, place in definitions(FUNCTIONS) if not name.startswith("__") and is_participle(name)]
    assert len(found) <= MOST_PARTICIPLES, found
