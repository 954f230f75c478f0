"""Value types: frozen dataclasses in all but their cost at start-up."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import pprint
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from llmctl.core.chat import Message, Text, TextDelta, ThinkingDelta, Usage
from llmctl.core.values import Value


class Point(Value):
    """A place."""

    x: int
    y: int = 0
    tags: Mapping[str, str] = {}
    ORIGIN: ClassVar[str] = "0,0"

    @property
    def total(self) -> int:
        return self.x + self.y


class Other(Value):
    x: int
    y: int = 0
    tags: Mapping[str, str] = {}


def test_value_takes_fields_by_position_and_name_with_defaults() -> None:
    assert (Point(1).y, Point(1, 2).y, Point(x=1, y=3).y, Point(1, 2).total) == (0, 2, 3, 3)
    assert Point.ORIGIN == "0,0"
    assert Point.__doc__ == "A place."
    assert repr(Point(1, 2)) == "Point(x=1, y=2, tags={})"


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ((), {}, r"Point.__init__\(\) missing 1 required positional argument: 'x'"),
        ((1,), {"z": 2}, r"Point.__init__\(\) got an unexpected keyword argument 'z'"),
        ((1, 2, {}, 4), {}, r"takes from 2 to 4 positional arguments but 5 were given"),
    ],
)
def test_value_with_wrong_fields_is_a_type_error(values: tuple[Any, ...], named: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Point(*values, **named)


def test_value_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    with pytest.raises(AttributeError):
        point.z = 2
    assert point.replace(x=5) == Point(5)
    assert point == Point(1)


def test_values_are_equal_only_within_their_type() -> None:
    assert Point(1) == Point(1, 0)
    assert Point(1) != Other(1)
    assert Text("") != ThinkingDelta("")
    assert Usage() != ()
    assert len({TextDelta("a", None, ()), TextDelta("a", None, ())}) == 1  # type: ignore[arg-type]


def test_values_are_copied_pickled_and_matched() -> None:
    point = Point(1, 2, {"a": "b"})
    assert copy.deepcopy(point) == point == pickle.loads(pickle.dumps(point))
    match point:
        case Point(x, y=y):
            assert (x, y) == (1, 2)
        case _:
            pytest.fail("no match")


def test_dataclass_functions_accept_values() -> None:
    message = Message("user", (Text("hi"),))
    assert dataclasses.replace(message, role="system") == Message("system", (Text("hi"),))
    assert [field.name for field in dataclasses.fields(Usage())] == list(Usage().to_dict())
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 0, "tags": {}}
    assert pprint.pformat(Point(1)) == repr(Point(1))
    with pytest.raises(TypeError):
        dataclasses.replace(message, color="red")  # type: ignore[call-arg]


def test_no_method_is_compiled_before_a_value_is_made() -> None:
    code = "from llmctl.core.chat import Usage as U; print('__init__' in vars(U), U(1), '__init__' in vars(U))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split()[0] == "False"
    assert done.stdout.split()[-1] == "True"
