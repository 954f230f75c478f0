"""OpenMetrics text format 1.0, for Prometheus and compatible systems: https://prometheus.io/docs/specs/om/open_metrics_spec/."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_INVALID_NAME_CHAR = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value: ``suffix`` is appended to the family's name, ``at`` is in Unix seconds."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family. Its name must end with the unit."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    help: str
    samples: Iterable[Sample]
    unit: str | None = None


def render_families(families: Iterable[Family]) -> Iterator[str]:
    """Yield the exposition line by line, with the end marker that shows it is complete."""
    for family in families:
        yield f"# TYPE {family.name} {family.type}\n"
        if family.unit:
            yield f"# UNIT {family.name} {family.unit}\n"
        yield f"# HELP {family.name} {family.help.translate(_ESCAPES)}\n"
        for sample in family.samples:
            yield _format_sample(family.name, sample)
    yield "# EOF\n"


def metric_name(text: str) -> str:
    """Return a valid metric name for any text: letters, digits and ``_``, not starting with a digit."""
    name = _INVALID_NAME_CHAR.sub("_", text) or "_"
    return f"_{name}" if name[0].isdigit() else name


def label_names(keys: Iterable[str]) -> dict[str, str]:
    """Return key -> unique label name; a leading ``__`` is reserved by Prometheus and avoided."""
    found: dict[str, str] = {}
    for key in keys:
        name = metric_name(key)
        name = f"key{name}" if name == "_" or name.startswith("__") else name
        while name in found.values():
            name += "_"
        found[key] = name
    return found


def _format_sample(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in sample.labels.items())
    braces = f"{{{labels}}}" if labels else ""
    at = f" {sample.at:.3f}" if sample.at is not None else ""
    return f"{name}{sample.suffix}{braces} {_format_number(sample.value)}{at}\n"


def _format_number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(value)
