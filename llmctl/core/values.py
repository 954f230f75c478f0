"""Base of the immutable values that every turn loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self, dataclass_transform


class _DataclassAttribute:
    """What ``dataclass`` sets on a class, made when a program asks: ``dataclasses.replace`` and the like work."""

    def __set_name__(self, _kind: type, name: str) -> None:
        self._name = name

    def __get__(self, _value: Any, kind: type[Value]) -> Any:
        import dataclasses

        def declare(name: str) -> tuple[str, str, Any]:
            field: Any = dataclasses.field()
            if name in kind._defaults:  # a factory, because dataclasses refuse dicts as defaults
                field = dataclasses.field(default_factory=lambda: kind._defaults[name])
            return name, kind.__annotations__[name], field

        model = dataclasses.make_dataclass(kind.__name__, [declare(name) for name in kind._fields], frozen=True)
        setattr(kind, self._name, vars(model)[self._name])
        return vars(model)[self._name]


class _ValueType(type):
    """Makes the annotations of a class its slots; what they are set to becomes the default."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _ValueType:
        fields = tuple(
            field for field, kind in namespace.get("__annotations__", {}).items() if not kind.startswith("ClassVar")
        )
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        return super().__new__(
            mcs,
            name,
            bases,
            {**namespace, "__slots__": fields, "__match_args__": fields, "_fields": fields, "_defaults": defaults},
        )


@dataclass_transform(frozen_default=True)
class Value(metaclass=_ValueType):
    """A frozen, slotted dataclass, whose methods are compiled when the first value is made.

    Compiling what ``dataclass(frozen=True, slots=True)`` compiles at import takes ten times as long as the class
    itself, and a turn imports sixty types and makes values of half of them. Defaults are shared: never change one.
    A subclass has exactly its own fields. ``dataclasses.fields``, ``replace`` and ``asdict`` accept values.
    """

    _fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[Mapping[str, Any]]
    __dataclass_fields__: ClassVar[Any] = _DataclassAttribute()
    __dataclass_params__: ClassVar[Any] = _DataclassAttribute()

    def __init__(self, *values: Any, **named: Any) -> None:
        cls = type(self)
        cls.__init__ = _compile_init(cls)  # type: ignore[method-assign]
        cls.__init__(self, *values, **named)

    def __setattr__(self, name: str, value: Any) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _values(self) -> Iterator[Any]:
        return (getattr(self, name) for name in self._fields)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return tuple(self._values()) == tuple(other._values())

    def __hash__(self) -> int:
        return hash(tuple(self._values()))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._values())

    def replace(self, **changes: Any) -> Self:
        """Return the value with other contents of some fields."""
        return type(self)(**{**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and what they hold, not converted any further."""
        return dict(zip(self._fields, self._values(), strict=True))


@dataclass_transform(frozen_default=True, kw_only_default=True)
class TypedRow(Value):
    """Base of the types of a table's rows: a field per column."""

    def __init__(self, **columns: Any) -> None:
        for name in self._fields:
            object.__setattr__(self, name, columns[name] if name in columns else self._defaults[name])

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return a row of the table as this type; columns that the type does not have are ignored.

        A missing column has the default of ``schema/``, and raises KeyError if it has none.
        """
        return cls(**row)

    @classmethod
    def find_row(cls, row: Mapping[str, Any] | None) -> Self | None:
        """Return :meth:`from_row` of a row, or None for None."""
        return None if row is None else cls(**row)


def _compile_init(cls: type[Value]) -> Any:
    """Return the ``__init__`` of a value type; the setters of slots pass by ``__setattr__``."""
    scope: dict[str, Any] = {}
    parameters = []
    for name in cls._fields:
        scope[f"set_{name}"] = cls.__dict__[name].__set__
        if name in cls._defaults:
            scope[f"default_{name}"] = cls._defaults[name]
        parameters.append(f"{name}=default_{name}" if name in cls._defaults else name)
    body = "; ".join(f"set_{name}(self, {name})" for name in cls._fields) or "pass"
    exec(f"def __init__(self, {', '.join(parameters)}): {body}", scope)  # as dataclasses and namedtuple do
    scope["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    return scope["__init__"]
