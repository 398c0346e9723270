import importlib.util
import json
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from scoring import bulk, hps
from scoring.bulk import BulkRejected, BulkScored, score_manifest
from scoring.scorers import FunctionScorer, ScorerRejected
from tests.annotations.hostile_files import flipped, png
from tests.scoring import tiny


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return hps.load_clip_scorer(tiny.write_clip(tmp_path_factory.mktemp("clip") / "tiny"), "cpu")


@pytest.fixture
def folder(tmp_path):
    """Pictures 0.png to 4.png and 5.jpg to 9.jpg of several sizes."""
    for number in range(10):
        picture = tiny.picture(20 * number + 30, seed=number, size=(80 + 8 * number, 90))
        picture.save(tmp_path / f"{number}.{'png' if number < 5 else 'jpg'}")
    return tmp_path


NAMES = [f"{number}.{'png' if number < 5 else 'jpg'}" for number in range(10)]

NO_PICTURE = "not a JPEG, PNG or WebP image"


def write_manifest(path, rows, **options):
    table = pa.table(
        {"image": [image for image, _ in rows], "id": list(range(len(rows))), "prompt": [p for _, p in rows]}
    )
    pq.write_table(table, path, **options)
    return path


def read(path):
    return pq.read_table(path).to_pylist()


def module_of(path, code):
    """The module that a file holds once it has been written."""
    path.write_text(textwrap.dedent(code))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def brightness(images, prompt):
    return [float(np.asarray(image).mean()) for image in images]


def test_every_row_gets_the_scorers_number_in_order(folder, scorer):
    rows = [(NAMES[number % 10], f"prompt {number * 7 % 4}") for number in range(23)]
    manifest = write_manifest(folder / "in.parquet", rows, row_group_size=5)

    scored = score_manifest(manifest, folder / "out.parquet", scorer, part_rows=4)

    expected = []
    for image, prompt in rows:
        with Image.open(folder / image) as picture:
            expected.append(scorer.score([picture], prompt)[0])
    found = read(folder / "out.parquet")
    assert scored == BulkScored(rows=23, scored=23, resumed=0)
    assert [row.pop("score") for row in found] == pytest.approx(expected, abs=1e-4)
    assert found == [
        {"row": n, "image": image, "prompt": prompt, "error": None} for n, (image, prompt) in enumerate(rows)
    ]
    assert pq.ParquetFile(folder / "out.parquet").num_row_groups == 6
    assert sorted(path.name for path in folder.glob("*out*")) == ["out.parquet"]


def test_a_row_that_cannot_be_scored_is_named_with_its_reason(folder, scorer):
    (folder / "cut.jpg").write_bytes((folder / "9.jpg").read_bytes()[:300])
    (folder / "text.png").write_text("hello")
    (folder / "empty.png").write_bytes(b"")
    rows = [(name, "a") for name in ("0.png", "cut.jpg", "none.png", "text.png", "", "empty.png", "1.png")]
    manifest = write_manifest(folder / "in.parquet", [*rows, ("2.png", "")])
    bad = []

    scored = score_manifest(manifest, folder / "out.parquet", scorer, on_bad=bad.append, part_rows=3)

    found = read(folder / "out.parquet")
    assert scored == BulkScored(rows=8, scored=2, resumed=0)
    assert [row["score"] is None for row in found] == [False, True, True, True, True, True, False, True]
    assert [(row.row, row.error) for row in bad if row.row != 1] == [
        (2, "no such file"), (3, NO_PICTURE), (4, "no path"), (5, NO_PICTURE), (7, "no prompt"),
    ]  # fmt: skip
    assert "truncated" in bad[0].error.lower()
    assert [row["error"] for row in found if row["error"]] == [row.error for row in bad]


@pytest.mark.parametrize("is_function", [True, False])
def test_hostile_files_are_told_and_the_rows_between_them_scored(folder, scorer, is_function):
    """A DDS of an unknown kind, which Pillow answers with NotImplementedError, and others that it can't read."""
    good = (folder / "0.png").read_bytes()
    (folder / "bomb.png").write_bytes(png(width=50_000, height=50_000, depth=1, colour=0, pixels=b"\0"))
    (folder / "kind.dds").write_bytes(b"DDS " + struct.pack("<7I", 124, 0, 4, 4, 0, 0, 0) + bytes(96))
    (folder / "page.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for form in ("GIF", "TIFF", "BMP"):
        tiny.picture(90).save(folder / f"whole.{form}", form)
    (folder / "pixels.png").write_bytes(flipped(good, good.index(b"IDAT") + 8))
    (folder / "sub.png").mkdir()
    names = ["bomb.png", "kind.dds", "page.eps", "whole.GIF", "whole.TIFF", "whole.BMP", "pixels.png", "sub.png"]
    manifest = write_manifest(folder / "in.parquet", [(name, "a") for hostile in names for name in (hostile, "1.png")])
    taker = FunctionScorer("brightness", brightness) if is_function else scorer

    scored = score_manifest(manifest, folder / "out.parquet", taker)

    found = read(folder / "out.parquet")
    assert scored == BulkScored(rows=16, scored=8, resumed=0)
    assert [row["error"] for row in found[1::2]] == [None] * 8
    assert [row["error"].split(":")[0] for row in found[::2]] == [
        "DecompressionBombError", *[NO_PICTURE] * 5, "OSError", "IsADirectoryError",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Invalid APNG")
def test_no_file_of_pillows_own_hostile_ones_ends_a_call(shared_data, tmp_path, scorer):
    names = [path.name for path in sorted((shared_data / "hostile_images").iterdir())]
    manifest = write_manifest(tmp_path / "in.parquet", [(name, "a") for name in names])

    scored = score_manifest(manifest, tmp_path / "out.parquet", scorer, root=shared_data / "hostile_images")

    errors = [row["error"] for row in read(tmp_path / "out.parquet")]
    assert scored.rows == len(names) == len(errors) > 200
    assert [name for name, error in zip(names, errors, strict=True) if error is None and name.endswith(".dds")] == []


def test_strict_ends_at_the_first_bad_row_and_goes_on_when_it_is_mended(folder, scorer):
    manifest = write_manifest(folder / "in.parquet", [(name, "a") for name in [*NAMES[:5], "late.png"]])

    with pytest.raises(BulkRejected, match=r"Row 5: late.png can't be scored \(no such file\)"):
        score_manifest(manifest, folder / "out.parquet", scorer, is_strict=True, part_rows=2)
    assert not (folder / "out.parquet").exists()
    shutil.copy(folder / "0.png", folder / "late.png")

    scored = score_manifest(manifest, folder / "out.parquet", scorer, is_strict=True, part_rows=2)

    assert scored == BulkScored(rows=6, scored=6, resumed=4)


def test_a_killed_call_goes_on_behind_its_last_whole_part(folder, monkeypatch):
    manifest = write_manifest(folder / "in.parquet", [(NAMES[number % 10], "a") for number in range(40)])
    monkeypatch.syspath_prepend(folder)
    slow = module_of(
        folder / "slow_scorer.py",
        """
        import time
        PAUSE, asked = 0.02, []
        def width(images, prompt):
            time.sleep(PAUSE * len(images))
            asked.extend(image.width for image in images)
            return [float(image.width) for image in images]
    """,
    )
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from scoring.bulk import score_manifest
        from scoring.scorers import FunctionScorer, ScorerRejected

        folder = Path(sys.argv[1])
        sys.path.insert(0, str(folder))
        from slow_scorer import width

        score_manifest(folder / "in.parquet", folder / "out.parquet", FunctionScorer("one", width), part_rows=8)
    """)
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], cwd=Path.cwd())
    parts = folder / "out.parquet.parts"
    deadline = time.monotonic() + 60
    while not len(list(parts.glob("0*.parquet"))) >= 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "out.parquet").exists()

    def times():
        return {path.name: path.stat().st_mtime_ns for path in parts.glob("0*.parquet")}

    done = times()
    slow.PAUSE = 0
    # Whole parts of the killed call are kept as they are; half a part left under a temporary name is no part.
    (parts / ".00000004.parquet.tmp").write_bytes(b"half")
    seen = []
    scored = score_manifest(
        manifest, folder / "out.parquet", FunctionScorer("one", slow.width), part_rows=8,
        on_progress=lambda progress: seen.append(times()),
    )  # fmt: skip

    assert scored == BulkScored(rows=40, scored=40, resumed=8 * len(done))
    assert len(slow.asked) == 40 - 8 * len(done)
    assert {name: seen[-1][name] for name in done} == done
    assert [row["score"] for row in read(folder / "out.parquet")] == [80.0 + 8 * (number % 10) for number in range(40)]
    assert not parts.exists()


def test_a_finished_file_is_left_as_it_is_and_its_parts_are_cleared(folder, scorer):
    manifest = write_manifest(folder / "in.parquet", [(name, "a") for name in NAMES])
    score_manifest(manifest, folder / "out.parquet", scorer)
    before = (folder / "out.parquet").stat().st_mtime_ns

    scored = score_manifest(manifest, folder / "out.parquet", scorer)

    assert scored == BulkScored(rows=10, scored=10, resumed=10)
    assert (folder / "out.parquet").stat().st_mtime_ns == before
    assert not (folder / "out.parquet.parts").exists()


def test_scores_of_something_else_are_never_mixed_in(folder, scorer):
    manifest = write_manifest(folder / "in.parquet", [(name, "a") for name in NAMES])
    other = FunctionScorer("brightness", brightness)
    score_manifest(manifest, folder / "out.parquet", scorer)

    with pytest.raises(BulkRejected, match="scores of another manifest, root or scorer"):
        score_manifest(manifest, folder / "out.parquet", other)
    (folder / "x.parquet.parts").mkdir()
    (folder / "x.parquet.parts" / "job.json").write_text(json.dumps({"manifest": "other"}))
    with pytest.raises(BulkRejected, match="holds parts of another manifest, root or scorer"):
        score_manifest(manifest, folder / "x.parquet", scorer)
    (folder / "y.parquet").write_text("mine")
    with pytest.raises(BulkRejected, match="is there already, and no Parquet"):
        score_manifest(manifest, folder / "y.parquet", scorer)
    assert (folder / "y.parquet").read_text() == "mine"


def test_scores_of_a_function_are_not_mixed_with_those_of_its_changed_file(folder):
    manifest = write_manifest(folder / "in.parquet", [(name, "a") for name in [*NAMES[:5], "late.png"]])
    code = "def one(images, prompt):\n    return [{}.0] * len(images)\n"
    first, second = (FunctionScorer("mine", module_of(folder / "mine.py", code.format(n)).one) for n in (1, 2))
    score_manifest(manifest, folder / "out.parquet", first)
    with pytest.raises(BulkRejected, match=r"late\.png"):
        score_manifest(manifest, folder / "x.parquet", first, is_strict=True, part_rows=2)

    with pytest.raises(BulkRejected, match="scores of another manifest, root or scorer"):
        score_manifest(manifest, folder / "out.parquet", second)
    with pytest.raises(BulkRejected, match="holds parts of another manifest, root or scorer"):
        score_manifest(manifest, folder / "x.parquet", second, part_rows=2)

    assert [row["score"] for row in read(folder / "out.parquet")] == [1.0] * 5 + [None]


def test_a_function_that_stands_in_no_file_is_refused(folder):
    names = {}
    exec("def one(images, prompt): return [1.0] * len(images)", names)
    manifest = write_manifest(folder / "in.parquet", [("0.png", "a")])

    with pytest.raises(ScorerRejected, match="mine must stand in a file, so that a change of it can be noticed"):
        score_manifest(manifest, folder / "out.parquet", FunctionScorer("mine", names["one"]))

    assert not list(folder.glob("out*"))


def test_scores_of_the_same_names_in_another_folder_are_others(folder, scorer, monkeypatch):
    (folder / "other").mkdir()
    tiny.picture(250).save(folder / "other" / "0.png")
    manifest = write_manifest(folder / "in.parquet", [("0.png", "a")])
    score_manifest(manifest, folder / "out.parquet", scorer, root=folder)
    monkeypatch.chdir(folder / "other")

    assert score_manifest(manifest, folder / "out.parquet", scorer, root=Path("..")).resumed == 1
    with pytest.raises(BulkRejected, match="scores of another manifest, root or scorer"):
        score_manifest(manifest, folder / "out.parquet", scorer, root=Path())


def test_two_calls_do_not_work_on_one_file(folder, scorer):
    manifest = write_manifest(folder / "in.parquet", [(name, "a") for name in NAMES])

    def start_another(progress):
        with pytest.raises(BulkRejected, match="another process is at work"):
            score_manifest(manifest, folder / "out.parquet", scorer)

    score_manifest(manifest, folder / "out.parquet", scorer, on_progress=start_another)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": ["a"]}, "has no column 'prompt'; its columns are image"),
        ({"image": [1], "prompt": ["a"]}, "column 'image' must be text, not int64"),
        (None, "can't be read as Parquet"),
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path, scorer, columns, reason):
    if columns:
        pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    else:
        (tmp_path / "in.parquet").write_text("image,prompt")

    with pytest.raises(BulkRejected, match=reason):
        score_manifest(tmp_path / "in.parquet", tmp_path / "out.parquet", scorer)

    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_an_empty_manifest_gives_an_empty_file(tmp_path, scorer):
    pq.write_table(bulk.COLUMNS.empty_table().select(["image", "prompt"]), tmp_path / "in.parquet")

    assert score_manifest(tmp_path / "in.parquet", tmp_path / "out.parquet", scorer) == BulkScored(0, 0, 0)
    assert read(tmp_path / "out.parquet") == []


@pytest.mark.parametrize("order", [sorted, list])
def test_each_distinct_prompt_is_encoded_once(folder, scorer, monkeypatch, order):
    scorer._texts.clear()
    encoded = []
    encode = hps.encode_text
    monkeypatch.setattr(hps, "encode_text", lambda model, ids: encoded.append(len(ids)) or encode(model, ids))
    rows = order([(NAMES[number % 10], f"prompt {number % 7}") for number in range(200)])

    score_manifest(write_manifest(folder / "in.parquet", rows), folder / "out.parquet", scorer, part_rows=16)

    assert sum(encoded) == 7


def test_memory_does_not_grow_with_the_rows(folder, tmp_path):
    """Twenty times the rows, each a picture of 3 MB, in no more than a few more megabytes."""
    Image.new("RGB", (1000, 1000), "red").save(folder / "large.png")
    program = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        import pyarrow as pa, pyarrow.parquet as pq
        from scoring.bulk import score_manifest
        from scoring import hps

        folder, rows = Path(sys.argv[1]), int(sys.argv[2])
        pq.write_table(pa.table({"image": ["large.png"] * rows, "prompt": ["a"] * rows}), folder / f"{rows}.parquet")
        scorer = hps.load_scorer(folder / "clip", "cpu")
        score_manifest(folder / f"{rows}.parquet", folder / f"{rows}.out", scorer, part_rows=64)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """)
    tiny.write_clip(folder / "clip")
    few, many = (
        int(subprocess.run([sys.executable, "-c", program, str(folder), rows], capture_output=True, check=True).stdout)
        for rows in ("64", "1280")
    )

    assert many - few < 60


def test_no_more_is_read_ahead_than_the_scorer_will_soon_take(folder):
    taken = []

    def rows():
        for number in range(1000):
            taken.append(number)
            yield bulk.Row(number, "0.png", "a")

    decoded = bulk._decoded(rows(), folder, FunctionScorer("brightness", brightness))
    next(decoded)
    decoded.close()

    assert len(taken) == bulk.READ_AHEAD
