"""Frozen dataclasses that cost little at import: the standard ones took a third of what a master needs to start. Pure.

`dataclass` is used as that of the standard library, which compiles six functions for each frozen class; this one
compiles `__init__`, and the classes share the others. For whoever checks types, it is the standard one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, eq: bool = True, kw_only: bool = False) -> Callable[[type], type]:
        """Return the decorator; `frozen` and `slots` are there to be read, and to be true."""
        if not (frozen and slots):
            raise TypeError("what is not frozen is the standard library's")
        return lambda cls: _process(cls, eq, kw_only)


def _process(cls: type[Any], eq: bool, kw_only: bool) -> type[Any]:
    own = set(cls.__dict__)
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(cls)
    fields = dataclasses.fields(made)
    if "__init__" not in own:
        made.__init__ = _make_init(made, fields)
    if "__repr__" not in own:
        made.__repr__ = _repr
    if eq and "__eq__" not in own:
        made._compared = staticmethod(_getter([one.name for one in fields if one.compare]))
        made.__eq__ = _eq
        if "__hash__" not in own:
            made._hashed = staticmethod(
                _getter([one.name for one in fields if (one.compare if one.hash is None else one.hash)])
            )
            made.__hash__ = _hash
    made.__setattr__, made.__delattr__ = _refuse_set, _refuse_delete
    made.__getstate__, made.__setstate__ = _get_state, _set_state
    return made  # type: ignore[no-any-return]


def _make_init(cls: type[Any], fields: tuple[Field[Any], ...]) -> Callable[..., None]:
    """Compile __init__; what is stored goes through the slots themselves, past __setattr__."""
    names: dict[str, Any] = {"_missing": MISSING, "__name__": cls.__module__}
    positional, keywords, body = ["self"], list[str](), list[str]()
    for one in fields:
        name, value, parameter = one.name, one.name, one.name
        if one.default is not MISSING:
            names[f"_default_{name}"] = one.default
            parameter, value = f"{name}=_default_{name}", name if one.init else f"_default_{name}"
        elif one.default_factory is not MISSING:
            names[f"_make_{name}"] = one.default_factory
            parameter = f"{name}=_missing"
            value = f"_make_{name}() if {name} is _missing else {name}" if one.init else f"_make_{name}()"
        elif not one.init:
            continue
        if one.init:
            (keywords if one.kw_only else positional).append(parameter)
        names[f"_set_{name}"] = getattr(cls, name).__set__
        body.append(f"_set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join(positional + (["*", *keywords] if keywords else []))
    exec(f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"]), names)
    init: Callable[..., None] = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = {one.name: one.type for one in fields if one.init} | {"return": None}
    return init


def _getter(names: list[str]) -> Callable[[Any], Any]:
    """Return what gives the values of these attributes as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda value: (getattr(value, names[0]),)) if names else (lambda value: ())


def _repr(self: Any) -> str:
    shown = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._compared(self) == self._compared(other)


def _hash(self: Any) -> int:
    return hash(self._hashed(self))


def _refuse_set(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for one, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)


def known_fields(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those values that are fields of a dataclass: another version of pyfpm may know more, or fewer."""
    return {one.name: values[one.name] for one in dataclasses.fields(kind) if one.name in values}
