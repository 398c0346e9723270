"""Reading piece by piece: JSON arrays of any size, archives that may be hostile."""

import io
import json
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations.imports import sources
from annotations.imports.archives import unpack
from annotations.imports.records import UnableToImport
from annotations.imports.sources import JsonArray, json_records

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)


def items_of(content: bytes) -> list[object]:
    return list(JsonArray(io.BytesIO(content), "a.json").items())


@given(
    values=st.lists(JSON, max_size=5),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
    chunk=st.integers(1, 9),
)
@settings(max_examples=150, deadline=None)
def test_json_array_reads_what_json_reads(values: list[Any], indent: int | None, is_ascii: bool, chunk: int) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=is_ascii)
    content = text.encode(errors="surrogatepass") if is_ascii else text.encode("utf-8", errors="replace")
    whole = json.loads(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK_BYTES", chunk)
        assert items_of(content) == whole


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"id": 1},\n {"id" 2}]', "Expecting ':' delimiter at line 2, column 8"),
        (b"[1 2]", "Expecting ',' delimiter at line 1, column 4"),
        (b"[1,\n\n2", "Expecting ',' delimiter at line 3, column 2"),
        (b"[1] x", "Extra data at line 1, column 5"),
        (b'["open', "Unterminated string starting at at line 1, column 2"),
        (b"[1,]", "Expecting value at line 1, column 4"),
        (b"", "Expecting value at line 1, column 1"),
    ],
)
def test_json_array_tells_line_and_column(
    content: bytes, message: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHUNK_BYTES", chunk)

    with pytest.raises(UnableToImport) as caught:
        items_of(content)

    assert str(caught.value) == f"a.json is not JSON: {message}."


def test_json_array_holds_little_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    record = json.dumps({"prompt": "x" * 300, "file_path": ["a.jpg", "b.jpg"], "human_preference": [1, 0]})
    path.write_text("[" + ",\n".join([record] * 60_000) + "]")
    assert path.stat().st_size > 20e6

    tracemalloc.start()
    try:
        count = sum(1 for _record in json_records(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert count == 60_000
    assert peak < 8e6


def write_zip(path: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, names: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


WRITERS: list[tuple[str, Callable[[Path, dict[str, bytes]], Path]]] = [("a.zip", write_zip), ("a.tar.gz", write_tar)]


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_unpack_gives_the_one_folder_inside(tmp_path: Path, name: str, write: Callable[..., Path]) -> None:
    archive = write(tmp_path / name, {"hpd/train.json": b"[]", "hpd/images/a.png": b"a"})

    folder = unpack(archive, tmp_path / "out")

    assert folder == tmp_path / "out" / "hpd"
    assert (folder / "images" / "a.png").read_bytes() == b"a"


@pytest.mark.parametrize(("name", "write"), WRITERS)
@pytest.mark.parametrize("bad", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "a\\out.txt", "C:out.txt"])
def test_unpack_refuses_what_leads_elsewhere(tmp_path: Path, name: str, write: Callable[..., Path], bad: str) -> None:
    archive = write(tmp_path / name, {bad: b"x"})

    with pytest.raises(UnableToImport, match="in the archive is no path below its folder"):
        unpack(archive, tmp_path / "deep" / "out")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_unpack_refuses_what_was_made_to_burst(tmp_path: Path, name: str, write: Callable[..., Path]) -> None:
    archive = write(tmp_path / name, {f"{number}.bin": bytes(50 << 20) for number in range(5)})

    with pytest.raises(UnableToImport, match="unpacks to more than 200 times its size"):
        unpack(archive, tmp_path / "out")


def test_unpack_refuses_links_and_devices(tmp_path: Path) -> None:
    for number, kind in enumerate([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]):
        archive = tmp_path / f"{number}.tar"
        with tarfile.open(archive, "w") as file:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        with pytest.raises(UnableToImport, match="'link' in the archive is no plain file"):
            unpack(archive, tmp_path / f"out{number}")


def test_unpack_refuses_what_is_damaged(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar.gz"):
        (tmp_path / name).write_bytes(b"no archive at all")
        with pytest.raises(UnableToImport, match=f"{name} cannot be unpacked"):
            unpack(tmp_path / name, tmp_path / f"out-{name}")


def test_unpack_refuses_a_zip_with_a_damaged_file(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.json", "[]" * 500)
    content = bytearray(archive.read_bytes())
    content[30 + len("a.json")] = 0xFF  # the first byte behind the header of the file: no block begins so
    archive.write_bytes(content)

    with pytest.raises(UnableToImport, match=r"a\.zip cannot be unpacked: Error -3 while decompressing data"):
        unpack(archive, tmp_path / "out")
