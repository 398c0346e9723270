"""Takes the fields of one record, and says of a bad one what is wrong with it."""

from datetime import UTC, datetime
from typing import Any

from annotations.imports.records import BadRecord, shown
from annotations.models import MAX_CANDIDATES, MIN_CANDIDATES
from annotations.services.images import PromptRejected, check_prompt_text, is_storable

MAX_ANNOTATOR_CHARACTERS = 100
MAX_GENERATOR_CHARACTERS = 120


def object_of(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRecord(f"it is no object but {shown(value)}")
    return value


def value_of(record: dict[str, Any], key: str) -> Any:
    if key not in record:
        raise BadRecord(f"it has no {key}")
    return record[key]


def whole_number(record: dict[str, Any], key: str) -> int:
    value = value_of(record, key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRecord(f"{key} is no whole number but {shown(value)}")
    return value


def truth(record: dict[str, Any], key: str) -> bool:
    value = value_of(record, key)
    if not isinstance(value, bool):
        raise BadRecord(f"{key} is neither true nor false but {shown(value)}")
    return value


def is_synthetic(record: dict[str, Any]) -> bool:
    """What our own exports say of simulated choices; others don't say."""
    return truth(record, "synthetic") if record.get("synthetic") is not None else False


def prompt_of(record: dict[str, Any], key: str = "prompt") -> str:
    prompt = value_of(record, key)
    if not isinstance(prompt, str):
        raise BadRecord(f"{key} is no text but {shown(prompt)}")
    try:
        check_prompt_text(prompt)
    except PromptRejected as error:
        raise BadRecord(str(error)) from error
    return prompt


def file_names(record: dict[str, Any], key: str, *, at_most: int = MAX_CANDIDATES) -> tuple[str, ...]:
    names = value_of(record, key)
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRecord(f"{key} is no list of file names but {shown(names)}")
    if not MIN_CANDIDATES <= len(names) <= at_most:
        raise BadRecord(f"it has {len(names)} images; a choice is between {MIN_CANDIDATES} and {at_most}")
    if len(set(names)) < len(names):
        raise BadRecord(f"{key} names an image twice")
    return tuple(names)


def person_of(record: dict[str, Any], key: str = "user_hash") -> str:
    return checked_person(value_of(record, key), key)


def checked_person(name: object, key: str) -> str:
    if not isinstance(name, str) or not name.strip() or not is_storable(name):
        raise BadRecord(f"{key} is no text but {shown(name)}")
    if len(name) > MAX_ANNOTATOR_CHARACTERS:
        raise BadRecord(f"{key} has {len(name):,} characters; at most {MAX_ANNOTATOR_CHARACTERS} are taken")
    return name


def unnamed(key: str) -> str:
    """The person behind a record that names none: one of its own, since nothing says that two records share one."""
    return f"unnamed:{key}"[:MAX_ANNOTATOR_CHARACTERS]


def generators_of(record: dict[str, Any], count: int, key: str = "generators") -> tuple[str | None, ...] | None:
    names = record.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != count or not all(is_generator_name(name) for name in names):
        raise BadRecord(f"{key} is no list of a name or null per image but {shown(names)}")
    return tuple(names)


def is_generator_name(name: object) -> bool:
    return name is None or (
        isinstance(name, str) and 0 < len(name) <= MAX_GENERATOR_CHARACTERS and bool(name.strip()) and is_storable(name)
    )


def generator_name(record: dict[str, Any], key: str) -> str | None:
    """The name of a generator; an empty or missing one is none."""
    name = record.get(key) or None
    if not is_generator_name(name):
        raise BadRecord(f"{key} is no generator's name but {shown(name)}")
    return name


def tags_of(value: object) -> tuple[str, ...]:
    """Tags of a prompt; none where nothing is said."""
    tags = [] if value is None else value
    if not isinstance(tags, list) or not all(isinstance(t, str) and 0 < len(t) <= 64 and is_storable(t) for t in tags):
        raise BadRecord(f"tags is no list of texts of at most 64 characters but {shown(value)}")
    return tuple(tags)


def milliseconds(record: dict[str, Any], key: str) -> int | None:
    value = record.get(key)
    if value is not None and (type(value) is not int or not 0 <= value < 2**31):
        raise BadRecord(f"{key} is no whole number of milliseconds but {shown(value)}")
    return value


def moment(text: str, key: str) -> datetime:
    """A time in ISO 8601; one without a zone is taken for UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadRecord(f"{key} is no time as in 2026-01-31T12:00:00+00:00 but {shown(text)}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
