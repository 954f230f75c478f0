"""OpenMetrics text 1.0, which Prometheus and its kin read: https://prometheus.io/docs/specs/om/open_metrics_spec/."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Sample:
    """One number: ``suffix`` comes after the family's name, ``at`` is in Unix seconds."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """Samples that belong together. A unit must be the end of the name."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    help: str
    samples: Iterable[Sample]
    unit: str | None = None


def rendered(families: Iterable[Family]) -> Iterator[str]:
    """Yield the exposition line by line, with the end mark that tells it from one that was cut off."""
    for family in families:
        yield f"# TYPE {family.name} {family.type}\n"
        if family.unit:
            yield f"# UNIT {family.name} {family.unit}\n"
        yield f"# HELP {family.name} {family.help.translate(_ESCAPES)}\n"
        for sample in family.samples:
            yield _line(family.name, sample)
    yield "# EOF\n"


def metric_name(text: str) -> str:
    """Return a name of any kind as one that is allowed: letters, digits and ``_``, no digit first."""
    name = _NO_NAME.sub("_", text) or "_"
    return f"_{name}" if name[0].isdigit() else name


def label_names(keys: Iterable[str]) -> dict[str, str]:
    """Return key -> label name for keys of any kind, no two alike, none with ``__`` first: these are Prometheus's."""
    found: dict[str, str] = {}
    for key in keys:
        name = metric_name(key)
        name = f"key{name}" if name == "_" or name.startswith("__") else name
        while name in found.values():
            name += "_"
        found[key] = name
    return found


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in sample.labels.items())
    braces = f"{{{labels}}}" if labels else ""
    at = f" {sample.at:.3f}" if sample.at is not None else ""
    return f"{name}{sample.suffix}{braces} {_number(sample.value)}{at}\n"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(value)
