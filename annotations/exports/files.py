"""Files that take their content piece by piece: a JSON array, JSON lines, a Parquet table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pyarrow import parquet

ROWS = 1000
GROUP_BYTES = 32 << 20


class JsonArray:
    """A file that takes the items of one JSON array as they come."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8")
        self.is_empty = True

    def __enter__(self) -> Self:
        self.file.write("[")
        return self

    def add(self, item: object) -> None:
        self.file.write("\n" if self.is_empty else ",\n")
        json.dump(item, self.file, ensure_ascii=False)
        self.is_empty = False

    def __exit__(self, *_raised: object) -> None:
        self.file.write("\n]\n")
        self.file.close()


class JsonLines:
    """A file that takes one JSON document per line."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def add(self, item: object) -> None:
        json.dump(item, self.file, ensure_ascii=False)
        self.file.write("\n")

    def __exit__(self, *_raised: object) -> None:
        self.file.close()


class ParquetFile:
    """A Parquet file written in row groups, so that memory holds one of them at most."""

    def __init__(self, path: Path, schema: pa.Schema, metadata: Mapping[str, str] | None = None) -> None:
        self.schema = schema.with_metadata({**(schema.metadata or {}), **(metadata or {})})
        self.writer = parquet.ParquetWriter(path, self.schema, compression="zstd")
        self.rows: list[dict[str, Any]] = []
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def add(self, row: dict[str, Any], size: int = 0) -> None:
        """Takes a row; `size` is that of its pixels in bytes."""
        self.rows.append(row)
        self.bytes += size
        if len(self.rows) >= ROWS or self.bytes >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            self.writer.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
        self.rows, self.bytes = [], 0

    def __exit__(self, *raised: object) -> None:
        if raised[0] is None:
            self.flush()
        self.writer.close()
