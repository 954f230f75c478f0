"""Scales: round steps for an axis, and which of many labels have room."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from llmctl.formats.report import words

#: Pixels of a plot's height, without its labels.
HEIGHT = 220
#: Pixels of the smallest bar.
_LEAST = 1.5
_STEPS = (1, 2, 2.5, 5, 10)
#: How many labels have room below a wide and below a narrow plot.
_WIDE, _NARROW = 12, 4


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the plot at a height (pixels from above)."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text below the plot, at a per cent of its width; a minor one needs a wide plot."""

    x: float
    text: str
    is_minor: bool
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from 0 to ``top`` as pixels from above."""

    top: float
    step: float

    def y(self, value: float) -> float:
        return round(HEIGHT * (1 - value / self.top), 2)

    def height(self, value: float) -> float:
        """Return the height of a bar: what is little can still be seen."""
        return max(_LEAST, round(HEIGHT * value / self.top, 2))

    def ticks(self, say: Callable[[float], str]) -> list[Tick]:
        values = [self.step * index for index in range(round(self.top / self.step) + 1)]
        return [Tick(self.y(value), _short(say(value)) if value else "0") for value in values]


def scale(most: float, *, whole: bool = False) -> Scale:
    """Return a scale from 0 to a little above ``most``, with about four round steps."""
    if most <= 0:
        return Scale(1, 1)
    raw = most / 4
    power: float = 10 ** floor(log10(raw))
    step = next(power * factor for factor in _STEPS if power * factor >= raw * 0.999)
    if whole:
        step = max(1, ceil(step))
    return Scale(step * ceil(most / step * 0.999), step)


def labels(names: Sequence[str]) -> list[Label]:
    """Return the labels of moments, below the middle of their places."""
    count = len(names)
    step = max(1, ceil(count / _WIDE))
    rare = step * max(1, ceil(count / step / _NARROW))
    found: list[Label] = []
    shown: str | None = None
    for index in range(0, count, step):
        name = names[index]
        found.append(Label(place(index, count), words.tick(name, shown), bool(index % rare)))
        shown = name
    return found


def place(index: int, count: int) -> float:
    """Return the middle of one of ``count`` equal places, in per cent."""
    return round(100 * (index + 0.5) / count, 3)


def _short(text: str) -> str:
    """Return a value of an axis without digits that say nothing: ``$300.00``."""
    return re.sub(r"(\.\d*?)0+(?=\D|$)", lambda found: found[1].rstrip("."), text)
