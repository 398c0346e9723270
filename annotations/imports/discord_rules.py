"""Which messages of a Discord export are generations, and which are choices: rules in a TOML file.

[generation]
author = 'regular expression'       # of the bot's name
prompt = ['…(?P<prompt>…)…']        # tried in turn on the bot's message, then on the message it replies to;
# may have a group `person` too, the one who asked
tiles = 4                           # images in a grid, where one attachment is one grid; or a regular expression
# with a group `tiles`, looked for in the same two messages
conditioned = 'regular expression'  # in the same two messages: made from another image; such are left out
generator = "name"                  # optional: what made the images

[choice]
from = "person"                     # or "bot", where the bot tells what a person pressed
pattern = '…(?P<number>…)…'         # of the message; from a bot with `person`, and `prompt` for messages that
# say not what they reply to
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotations.imports.records import UnableToImport, shown

PRESETS = Path(__file__).parent / "discord_presets"
GENERATION_KEYS = {"author", "prompt", "tiles", "conditioned", "generator"}
CHOICE_KEYS = {"from", "pattern"}


@dataclass(frozen=True)
class Rules:
    """What is looked for in the messages of a channel."""

    author: re.Pattern[str]
    prompts: tuple[re.Pattern[str], ...]
    tiles: int | re.Pattern[str] | None
    conditioned: re.Pattern[str] | None
    generator: str | None
    is_choice_by_bot: bool
    choice: re.Pattern[str]

    def prompt_in(self, text: str) -> re.Match[str] | None:
        """Where one of the patterns finds a prompt; the first that does counts."""
        return next((found for pattern in self.prompts if (found := pattern.search(text))), None)

    def tiles_in(self, texts: list[str]) -> int | None:
        """How many images a grid holds, if that is known."""
        if not isinstance(self.tiles, re.Pattern):
            return self.tiles
        found = next((found for text in texts if (found := self.tiles.search(text))), None)
        return int(found["tiles"]) if found else None


def rules_of(name: str) -> Rules:
    """A preset by its name, or the rules in a TOML file.

    Raises:
        UnableToImport: there is none such, or it is wrong; says what would be right.
    """
    presets = sorted(path.stem for path in PRESETS.glob("*.toml"))
    path = PRESETS / f"{name}.toml" if name in presets else Path(name)
    if not name or not path.is_file():
        raise UnableToImport(f"--rules '{name}' is neither a preset ({', '.join(presets)}) nor a TOML file.")
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UnableToImport(f"{path} is not TOML: {error}.") from error
    return Checker(path.name).rules(record)


@dataclass(frozen=True)
class Checker:
    """Reads the rules of one file."""

    file: str

    def rules(self, record: dict[str, Any]) -> Rules:
        generation = self.table(record, "generation", GENERATION_KEYS)
        choice = self.table(record, "choice", CHOICE_KEYS)
        prompts = generation.get("prompt")
        if not isinstance(prompts, list) or not prompts:
            raise self.error("generation.prompt", "a list of regular expressions", prompts)
        if choice.get("from") not in {"person", "bot"}:
            raise self.error("choice.from", '"person" or "bot"', choice.get("from"))
        is_by_bot = choice["from"] == "bot"
        return Rules(
            author=self.pattern(generation.get("author"), "generation.author"),
            prompts=tuple(self.pattern(prompt, "generation.prompt", "prompt") for prompt in prompts),
            tiles=self.tiles(generation.get("tiles")),
            conditioned=self.optional_pattern(generation.get("conditioned"), "generation.conditioned"),
            generator=self.generator(generation.get("generator")),
            is_choice_by_bot=is_by_bot,
            choice=self.pattern(choice.get("pattern"), "choice.pattern", "number", *(["person"] if is_by_bot else [])),
        )

    def table(self, record: dict[str, Any], name: str, keys: set[str]) -> dict[str, Any]:
        table = record.get(name)
        if not isinstance(table, dict):
            raise self.error(name, "a table", table)
        if unknown := sorted(table.keys() - keys):
            raise UnableToImport(f"{self.file}: [{name}] has no '{unknown[0]}'; it has {', '.join(sorted(keys))}.")
        return table

    def pattern(self, value: object, name: str, *groups: str) -> re.Pattern[str]:
        if not isinstance(value, str):
            raise self.error(name, "a regular expression", value)
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise UnableToImport(f"{self.file}: {name} is no regular expression: {error}.") from error
        if missing := [group for group in groups if group not in pattern.groupindex]:
            raise UnableToImport(f"{self.file}: {name} has no group (?P<{missing[0]}>…).")
        return pattern

    def optional_pattern(self, value: object, name: str) -> re.Pattern[str] | None:
        return None if value is None else self.pattern(value, name)

    def tiles(self, value: object) -> int | re.Pattern[str] | None:
        if value is None or (type(value) is int and 2 <= value <= 9):
            return value
        if isinstance(value, str):
            return self.pattern(value, "generation.tiles", "tiles")
        raise self.error("generation.tiles", "a number from 2 to 9 or a regular expression", value)

    def generator(self, value: object) -> str | None:
        if value is None or (isinstance(value, str) and 0 < len(value) <= 120):
            return value
        raise self.error("generation.generator", "a name of at most 120 characters", value)

    def error(self, name: str, right: str, value: object) -> UnableToImport:
        return UnableToImport(f"{self.file}: {name} is {right}, not {shown(value)}.")
