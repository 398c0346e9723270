"""Opens what is imported: a file, a folder or an archive, read piece by piece whatever its size."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NoReturn

from annotations.imports.records import BadRecord, Place, RawRecord, UnableToImport, shown
from annotations.services.images import is_storable

CHUNK_BYTES = 1 << 20
MAX_ITEM_CHARACTERS = 64 << 20
BLANKS = " \t\r\n"


@dataclass(frozen=True)
class Scratch:
    """A folder for pixels that have no file of their own: those inside Parquet files, and the tiles of grids."""

    folder: Path

    def path_of(self, name: str) -> Path:
        """Where the picture of this name is, if it was put here. The name itself never becomes a path."""
        return self.folder / hashlib.sha256(name.encode(errors="replace")).hexdigest()

    def put(self, name: str, content: bytes) -> None:
        """Keeps a picture under a name; the first one of a name stays."""
        path = self.path_of(name)
        if not path.exists():
            path.write_bytes(content)


@dataclass(frozen=True)
class Source:
    """What a format's reader is given."""

    path: Path
    """A file or a folder; archives are unpacked before."""
    scratch: Scratch
    takes_pixels: bool = True
    """Whether images are wanted; without, only their names are."""
    columns: dict[str, str] = field(default_factory=dict)
    """Which of the file's columns stands for which of ours, of CSV."""
    rules: str = ""
    """A preset or a TOML file, of Discord."""


def check_path(name: str) -> PurePosixPath:
    """A path that stays below the folder it is joined to.

    Raises:
        BadRecord: it leads elsewhere, or is written as on Windows.
    """
    path = PurePosixPath(name)
    if "\0" in name or not is_storable(name) or path.is_absolute() or ".." in path.parts or not path.parts:
        raise BadRecord(f"{shown(name)} is no path below the image folder")
    if "\\" in name or PureWindowsPath(name).drive:
        raise BadRecord(f"{shown(name)} is no path below the image folder; write it with forward slashes")
    return path


def file_below(folder: Path, path: Path, name: str) -> Path | None:
    """The file, if it is there.

    Raises:
        BadRecord: a link that leads out of the folder.
    """
    try:
        if not path.is_file():
            return None
    except OSError:  # a name that is too long for the file system
        return None
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BadRecord(f"{shown(name)} is a link that leads out of the image folder")
    return path


def named_files(path: Path, names: Iterable[str]) -> list[Path]:
    """The file itself, or those of a folder that bear these names.

    Raises:
        UnableToImport: the folder holds none of them.
    """
    if not path.is_dir():
        return [path]
    files = [path / name for name in names if (path / name).exists()]
    if not files:
        *some, last = names
        raise UnableToImport(f"{path} holds neither {', '.join(some)} nor {last}; name the JSON file or its folder.")
    return files


def json_records(path: Path) -> Iterator[RawRecord]:
    """The items of a JSON array, or the lines of a .jsonl file, one at a time.

    Raises:
        UnableToImport: it cannot be read or is no such file; tells the line and the column.
    """
    try:
        with path.open("rb") as file:
            items = json_lines(file, path.name) if path.suffix == ".jsonl" else JsonArray(file, path.name).items()
            for number, value in enumerate(items, start=1):
                yield RawRecord(Place(path.name, number), value)
    except OSError as error:
        raise UnableToImport(f"{path} cannot be read: {error.strerror}.") from error


def json_lines(file: IO[bytes], name: str) -> Iterator[object]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield json_value(line, f"{name}, line {number}")


def json_value(content: bytes, name: str) -> object:
    """What a small JSON document holds.

    Raises:
        UnableToImport: it is no JSON; tells the line and the column.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=refuse_constant)
    except UnicodeDecodeError as error:
        raise UnableToImport(f"{name} is not UTF-8 text: byte {error.start} is wrong.") from error
    except json.JSONDecodeError as error:
        raise UnableToImport(
            f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnableToImport(refusal(name, error)) from error


def refusal(name: str, error: ValueError | RecursionError) -> str:
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return f"{name} is not JSON that can be taken: {reason}."


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no JSON")


class JsonArray:
    """Reads the items of one JSON array as they come, holding little more than one of them."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file = file
        self.name = name
        self.decoder = json.JSONDecoder(parse_constant=refuse_constant)
        self.text_decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.bytes_read = 0
        self.is_at_end = False
        self.text = ""
        self.at = 0
        """How far the text is read."""
        self.line, self.column = 1, 1
        """Where the text begins in the file."""

    def items_of(self, key: str) -> Iterator[object]:
        """Each item of the array under a key of an object, whatever stands before and after it.

        Raises:
            UnableToImport: there is no such array.
        """
        # Within a text of JSON the quotes would be escaped, so that this is a key wherever it stands.
        begin = re.compile(rf'"{key}"\s*:\s*\[')
        while (found := begin.search(self.text)) is None:
            if self.is_at_end or self.bytes_read > MAX_ITEM_CHARACTERS:
                raise UnableToImport(f"{self.name} has no list of {key}.")
            self.read_more()
        self.at = found.end()
        if self.next_character() != "]":
            yield from self.items_after_bracket()

    def items(self) -> Iterator[object]:
        """Each item in turn.

        Raises:
            UnableToImport: the file is no JSON array.
        """
        if self.next_character() != "[":
            raise self.no_array()
        self.at += 1
        if self.next_character() == "]":
            self.at += 1
        else:
            yield from self.items_after_bracket()
        if self.next_character():
            raise self.error("Extra data", self.at)

    def items_after_bracket(self) -> Iterator[object]:
        while True:
            yield self.item()
            after = self.next_character()
            if after not in {",", "]"}:
                raise self.error("Expecting ',' delimiter", self.at)
            self.at += 1
            if after == "]":
                return
            self.next_character()

    def item(self) -> object:
        """The item that begins where we are."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if self.is_at_end or self.is_wrong_for_good(error):
                    raise self.error(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                raise UnableToImport(refusal(self.name, error)) from error
            else:
                # A number may go on in the next chunk, as 1e+5 after "1e+"; anything else has ended.
                if end + 3 < len(self.text) or self.is_at_end:
                    self.at = end
                    return value
            if len(self.text) - self.at > MAX_ITEM_CHARACTERS:
                raise UnableToImport(f"{self.name} holds a record of more than {MAX_ITEM_CHARACTERS:,} characters.")
            self.read_more()

    def is_wrong_for_good(self, error: json.JSONDecodeError) -> bool:
        """Whether more text cannot mend it: the text was wrong well before its end."""
        return not error.msg.startswith(("Unterminated string", "Invalid \\")) and error.pos < len(self.text) - 16

    def next_character(self) -> str:
        """What comes after blanks; empty at the end of the file."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in BLANKS:
                    return self.text[self.at]
                self.at += 1
            if self.is_at_end:
                return ""
            self.read_more()

    def read_more(self) -> None:
        """Lets go of what was read and takes the next chunk, at least as large as what is left."""
        self.line, self.column = self.place_of(self.at)
        self.text, self.at = self.text[self.at :], 0
        chunk = self.file.read(max(CHUNK_BYTES, len(self.text)))
        try:
            self.text += self.text_decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            place = self.bytes_read + len(chunk) - len(error.object) + error.start
            raise UnableToImport(f"{self.name} is not UTF-8 text: byte {place} is wrong.") from error
        self.bytes_read += len(chunk)
        self.is_at_end = not chunk

    def place_of(self, position: int) -> tuple[int, int]:
        """Line and column in the file of a place in the text."""
        before = self.text[:position]
        lines = before.count("\n")
        return self.line + lines, len(before) - before.rfind("\n") if lines else self.column + len(before)

    def error(self, message: str, position: int) -> UnableToImport:
        line, column = self.place_of(position)
        return UnableToImport(f"{self.name} is not JSON: {message} at line {line}, column {column}.")

    def no_array(self) -> UnableToImport:
        if not self.text:
            return self.error("Expecting value", 0)
        try:
            value, _end = self.decoder.raw_decode(self.text, self.at)
        except (ValueError, RecursionError):
            return UnableToImport(
                f"{self.name} holds no JSON array of choices; it begins with {shown(self.text[:40])}."
            )
        return UnableToImport(f"{self.name} holds no JSON array of choices but {shown(value)}.")
