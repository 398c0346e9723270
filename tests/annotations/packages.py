"""Manifests with their images, packed as people send them."""

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence

from annotations.imports.containers import Archive, open_archive
from tests.annotations.factories import picture_bytes


def manifest_csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def manifest_jsonl(rows: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def opened(files: Mapping[str, bytes]) -> Archive:
    return open_archive("images.zip", io.BytesIO(zip_of(files)))


def two_generators(prompts: int = 2, generators: Sequence[str] = ("alder", "birch")) -> dict[str, bytes]:
    """A manifest of one image of each generator for each prompt, and the images."""
    rows = [
        {"file": f"pictures/{prompt}-{name}.png", "prompt": f"prompt {prompt}", "generator": name, "seed": prompt}
        for prompt in range(prompts)
        for name in generators
    ]
    return {"manifest.csv": manifest_csv(rows)} | {str(row["file"]): picture_bytes() for row in rows}
