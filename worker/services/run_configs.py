"""The settings of a run as a dataclass: what stands in `Run.config` came from people and programs."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, get_args, get_origin, get_type_hints

if TYPE_CHECKING:

    class IsDataclass(Protocol):
        """What dataclasses have in common."""

        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    Config = TypeVar("Config", bound=IsDataclass)

WORDS: dict[Any, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list[str]: "a list of texts",
    list[float]: "a list of numbers",
    NoneType: "null",
}


def read_config(kind: "type[Config]", wanted: Mapping[str, Any], rejected: type[Exception]) -> "Config":
    """A run's settings with their defaults, each of the type that the dataclass says.

    Args:
        kind: a dataclass whose fields are texts, numbers, truths, lists of these, or null.
        wanted: from JSON.
        rejected: what is raised, with what would be right.

    Raises:
        rejected: a setting is unknown, missing or of another type; or whatever the dataclass raises by itself.
    """
    known = {each.name: each for each in fields(kind)}
    if unknown := sorted(wanted.keys() - known.keys()):
        raise rejected(f"There is no setting {unknown[0]!r}; there are: {', '.join(sorted(known))}.")
    for name, each in known.items():
        if name not in wanted and each.default is MISSING and each.default_factory is MISSING:
            raise rejected(f"{name} is missing.")
    hints = get_type_hints(kind)
    for name, value in wanted.items():
        if not _fits(value, hints[name]):
            raise rejected(f"{name} must be {_words(hints[name])}, not {value!r}.")
    return kind(**wanted)


def _fits(value: object, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(each, get_args(hint)[0]) for each in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return " or ".join(WORDS[part] for part in parts)
