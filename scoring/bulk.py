"""Scores of any number of image files: streamed from a Parquet manifest into a Parquet file, and resumed after a kill.

Rows are worked through in parts of `PART_ROWS`. A part that is done stands as a file of its own in `OUT.parts/`, so a
call that was ended goes on behind the last whole part; in the end the parts are joined, one row group each, and take
their place under OUT at once.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from scoring.checkpoints import file_sha256
from scoring.pictures import PictureRejected, open_picture, read_picture
from scoring.preprocessing import Preprocessing
from scoring.scorers import FunctionScorer

PART_ROWS = 4096
"""Rows of a part: what a kill loses at most."""

READERS = min(16, os.cpu_count() or 1)
"""Threads that read and decode; Pillow lets go of Python's lock while it does."""

TOLD_EVERY = 256
"""Scores between two words on how far it is."""

READ_AHEAD = 4 * READERS
"""Pictures being decoded or waiting; all that is held of them at once, beside the scorer's own batches."""

COLUMNS = pa.schema({
    "row": pa.int64(), "image": pa.string(), "prompt": pa.string(), "score": pa.float64(), "error": pa.string(),
})  # fmt: skip
"""`row` counts from 0 in the manifest; `score` is null where `error` says why the picture has none."""

JOB = b"scoring"
"""Key in the file's metadata under which stands what was scored by what, as JSON."""


class BulkRejected(ValueError):
    """A manifest can't be scored, or not into this file; the message says what would be right."""


class Scorer(Protocol):
    manifest: dict[str, Any]

    def score_pairs(self, pairs: Iterator[tuple[Image.Image, str]]) -> Iterator[float]: ...


@dataclass
class Row:
    """One row of the manifest, and what came of it."""

    row: int
    """Counted from 0."""
    image: str
    prompt: str
    score: float | None = None
    error: str | None = None
    """Why there is no score."""


@dataclass(frozen=True)
class Progress:
    done: int
    """Rows that have been worked through, those of earlier calls included."""
    total: int


@dataclass(frozen=True)
class BulkScored:
    """What came of a manifest."""

    rows: int
    scored: int
    resumed: int
    """Rows that earlier calls had worked through."""


def score_manifest(
    manifest: Path,
    out: Path,
    scorer: Scorer,
    *,
    root: Path | None = None,
    is_strict: bool = False,
    on_progress: Callable[[Progress], object] = lambda _: None,
    on_bad: Callable[[Row], object] = lambda _: None,
    part_rows: int = PART_ROWS,
) -> BulkScored:
    """Score every row of a manifest; memory stays the same however many there are.

    Every distinct prompt is encoded once as long as fewer than `scoring.hps.MAX_CACHED_TEXTS` others come in between;
    a manifest sorted by prompt needs no more than that.

    Args:
        manifest: Parquet with the columns `image`, a path, and `prompt`; others are left alone.
        out: Parquet to write, see `COLUMNS`, one row per row of the manifest in the same order.
        scorer: see `scoring.hps.load_scorer` and `scoring.scorers`.
        root: what relative paths start from; by default the manifest's folder.
        is_strict: end at the first picture that can't be read, instead of naming it and going on.
        on_progress: called every few hundred rows.
        on_bad: called for each row that can't be scored, those of earlier calls left out.
        part_rows: see `PART_ROWS`.

    Returns:
        How many rows there were. A file that was made by the same call before is left as it is. The same are two calls
        whose manifest, root, part size and scorer are: a function's file counts whole, the modules that it uses don't.

    Raises:
        BulkRejected: the manifest is no such file, `out` is there and of something else, another process works on it,
            or, where `is_strict`, a picture can't be read; the parts that are done stay.
        ScorerRejected: a scorer of one's own that stands in no file, so that a change of it couldn't be noticed.
    """
    source = _opened(manifest)
    total = source.metadata.num_rows
    root = (root or manifest.parent).resolve()
    job = {
        "manifest": file_sha256(manifest),
        "root": str(root),
        "scorer": _identity(scorer),
        "part_rows": part_rows,
        "rows": total,
    }
    resumed = total
    with _parts(out, job) as folder:
        if not out.exists():
            sizes = [min(part_rows, total - start) for start in range(0, total, part_rows)]
            waiting = [number for number in range(len(sizes)) if not _part(folder, number).is_file()]
            resumed = done = total - sum(sizes[number] for number in waiting)
            on_progress(Progress(done, total))
            rows = _rows(source, set(waiting), part_rows)
            with contextlib.closing(_decoded(rows, root, scorer)) as decoded:
                for number in waiting:
                    part = _score_part(islice(decoded, sizes[number]), scorer, is_strict, done, total, on_progress)
                    _write(_part(folder, number), pa.Table.from_pylist([asdict(row) for row in part], schema=COLUMNS))
                    done += len(part)
                    for row in part:
                        if row.error is not None:
                            on_bad(row)
            on_progress(Progress(done, total))
            _join(folder, out, job)
        return _finished(out, job, resumed)


def _opened(manifest: Path) -> pq.ParquetFile:
    try:
        source = pq.ParquetFile(manifest, buffer_size=1 << 20)  # row groups of any size, a piece at a time
    except (OSError, pa.ArrowException) as error:
        raise BulkRejected(f"{manifest}: can't be read as Parquet ({error}).") from error
    schema = source.schema_arrow
    for name in ("image", "prompt"):
        if name not in schema.names:
            raise BulkRejected(f"{manifest}: has no column {name!r}; its columns are {', '.join(schema.names)}.")
        if not (pa.types.is_string(schema.field(name).type) or pa.types.is_large_string(schema.field(name).type)):
            raise BulkRejected(f"{manifest}: column {name!r} must be text, not {schema.field(name).type}.")
    return source


def _identity(scorer: Scorer) -> str:
    """What makes two scorers the same: the weights, and how they see pictures; or the function and its file."""
    if isinstance(scorer, FunctionScorer):
        return json.dumps([scorer.manifest["function"], hashlib.sha256(scorer.source()).hexdigest()])
    manifest = scorer.manifest
    return json.dumps(
        [manifest["weights"]["sha256"], manifest.get("preprocessing"), str(getattr(scorer, "dtype", ""))],
        sort_keys=True,
    )


@contextlib.contextmanager
def _parts(out: Path, job: dict[str, Any]) -> Iterator[Path]:
    """The folder of the parts of this job, which no other process works in meanwhile; removed when all went well."""
    folder = out.with_name(f"{out.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "job.json").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BulkRejected(f"{out}: another process is at work on it.") from error
        _agree(file, folder, job)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _agree(file: IO[str], folder: Path, job: dict[str, Any]) -> None:
    file.seek(0)
    written = file.read()
    if written and json.loads(written) != job:
        raise BulkRejected(
            f"{folder}: holds parts of another manifest, root or scorer; remove the folder, or write to another file."
        )
    if not written:
        file.write(json.dumps(job))
        file.flush()
        os.fsync(file.fileno())


def _part(folder: Path, number: int) -> Path:
    return folder / f"{number:08}.parquet"


def _rows(source: pq.ParquetFile, parts: set[int], part_rows: int) -> Iterator[Row]:
    """The rows of these parts in order."""
    number = 0
    for batch in source.iter_batches(batch_size=min(part_rows, 4096), columns=["image", "prompt"]):
        images, prompts = batch.column("image"), batch.column("prompt")
        for index in range(batch.num_rows):
            if number // part_rows in parts:
                yield Row(number, images[index].as_py() or "", prompts[index].as_py() or "")
            number += 1


def _decoded(rows: Iterator[Row], root: Path, scorer: Scorer) -> Generator[tuple[Row, Image.Image | str], None, None]:
    """Each row with its picture, or with the reason why there is none, read ahead on threads."""
    preprocessing = getattr(scorer, "preprocessing", None)
    ahead: deque[tuple[Row, Future[Image.Image | str]]] = deque()
    threads = ThreadPoolExecutor(READERS, thread_name_prefix="bulk")
    try:
        for row in rows:
            ahead.append((row, threads.submit(_picture, root, row, preprocessing)))
            if len(ahead) >= READ_AHEAD:
                first, future = ahead.popleft()
                yield first, future.result()
        for row, future in ahead:
            yield row, future.result()
    finally:
        threads.shutdown(cancel_futures=True)


def _score_part(
    decoded: Iterator[tuple[Row, Image.Image | str]],
    scorer: Scorer,
    is_strict: bool,  # noqa: FBT001 - as the caller's
    done: int,
    total: int,
    on_progress: Callable[[Progress], object],
) -> list[Row]:
    rows: list[Row] = []

    def pairs() -> Iterator[tuple[Image.Image, str]]:
        for row, picture in decoded:
            rows.append(row)
            if isinstance(picture, Image.Image):
                yield picture, row.prompt
            elif is_strict:
                raise BulkRejected(f"Row {row.row}: {row.image or 'the picture'} can't be scored ({picture}).")
            else:
                row.error = picture

    scores: list[float] = []
    for score in scorer.score_pairs(pairs()):
        scores.append(score)
        if len(scores) % TOLD_EVERY == 0:
            on_progress(Progress(done + len(scores), total))
    for row, score in zip((row for row in rows if row.error is None), scores, strict=True):
        row.score = score
    return rows


def _picture(root: Path, row: Row, preprocessing: Preprocessing | None) -> Image.Image | str:
    """What the scorer sees of a picture, so that nothing larger waits in memory; or why there is nothing."""
    if not row.image:
        return "no path"
    if not row.prompt:
        return "no prompt"

    def see(image: Image.Image) -> Image.Image:
        if preprocessing is None:
            return ImageOps.exif_transpose(image).convert("RGB")
        return Image.fromarray(preprocessing.square(image).transpose(1, 2, 0))

    try:
        return read_picture(lambda: open_picture(root / row.image), see)
    except PictureRejected as error:
        return str(error)


def _write(path: Path, table: pa.Table) -> None:
    with _whole_or_absent(path) as unfinished:
        pq.write_table(table, unfinished)


def _join(folder: Path, out: Path, job: dict[str, Any]) -> None:
    """All parts as row groups of one file, which is there at once."""
    schema = COLUMNS.with_metadata({JOB: json.dumps(job)})
    with _whole_or_absent(out) as unfinished, pq.ParquetWriter(unfinished, schema) as writer:
        for number in range(-(-job["rows"] // job["part_rows"])):
            writer.write_table(pq.read_table(_part(folder, number)).cast(COLUMNS), row_group_size=job["part_rows"])


@contextlib.contextmanager
def _whole_or_absent(path: Path) -> Iterator[Path]:
    unfinished = path.with_name(f".{path.name}.tmp")
    yield unfinished
    _sync(unfinished)
    unfinished.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finished(out: Path, job: dict[str, Any], resumed: int) -> BulkScored:
    """What stands in a file that this job made.

    Raises:
        BulkRejected: something else stands there.
    """
    try:
        file = pq.ParquetFile(out)
    except (OSError, pa.ArrowException) as error:
        raise BulkRejected(f"{out}: is there already, and no Parquet; remove it or name another file.") from error
    if json.loads((file.schema_arrow.metadata or {}).get(JOB, b"null")) != job:
        raise BulkRejected(
            f"{out}: is there already, with scores of another manifest, root or scorer; remove it or name another file."
        )
    scored = sum(batch.num_rows - batch.column(0).null_count for batch in file.iter_batches(columns=["score"]))
    return BulkScored(rows=job["rows"], scored=scored, resumed=resumed)
