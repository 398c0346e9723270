"""Labels in the released form: out, back in, and what is wrong with a file."""

import json
from io import StringIO

import numpy as np
import PIL.Image
import pytest
from django.core.management import CommandError, call_command

from annotations.exports.choices import UnableToExport
from annotations.imports.records import UnableToImport
from annotations.models import Generator, Image, Prompt, Split
from tests.annotations.factories import make_prompt, make_user
from tests.worker.generators import make_tiny_generator
from tests.worker.labels import make_labelling, make_patterned, patterned
from worker.models import Labelling, Run
from worker.services.adapting import UnableToTrainAdapter, _examples, _plan
from worker.services.label_files import FILE, Captioned, export_labels, import_labels, read_lines
from worker.services.label_review import figures_of, left_of, strike_out

pytestmark = pytest.mark.django_db


def quietly(_done: int, _total: int) -> None:
    pass


def write_lines(folder, *records) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_text("".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records))
    return path


def picture(folder, name: str, seed: int = 1) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(patterned(seed).astype(np.uint8)).save(folder / name, quality=95)
    return name


def test_export_labels_writes_the_released_form(tmp_path):
    labelling = make_labelling(2)
    prompts = sorted(set(labelling.labels.values_list("image__prompt__text", flat=True)))
    of_kind = {
        (label.image.prompt.text, label.kind): label
        for label in labelling.labels.left().select_related("image__prompt")
    }

    counts = export_labels(labelling=labelling, out=tmp_path / "out", progress=quietly)

    assert counts == {"positive": 2, "negative": 2}
    lines = [json.loads(line) for line in (tmp_path / "out" / FILE).read_text().splitlines()]
    assert lines == [
        {
            "id": 2 * at + place,
            "file_name": f"{name}/{at}.jpg",
            "prompt": prompt,
            "type": name,
            "confidence": of_kind[prompt, kind].confidence,
            "batch_size": 4,
        }
        for at, prompt in enumerate(prompts)
        for place, (name, kind) in enumerate((("positive", "preferred"), ("negative", "non_preferred")), start=1)
    ]
    with PIL.Image.open(tmp_path / "out" / "negative" / "1.jpg") as written:
        # Pillow's tables of quality 95 begin with these numbers.
        assert (written.format, written.size, written.quantization[0][:4]) == ("JPEG", (32, 32), [2, 1, 1, 2])


def test_export_labels_comes_back_as_the_same_labels(tmp_path):
    labelling = make_labelling(3)
    strike_out(label=labelling.labels.filter(kind="preferred").first(), by=make_user())
    export_labels(labelling=labelling, out=tmp_path / "out", progress=quietly)

    brought = import_labels(path=tmp_path / "out" / FILE, generator_name="released", progress=quietly)

    def told(of: Labelling) -> list[tuple[str, str, float, int]]:
        return sorted((one.prompt, one.label.value, one.confidence, one.group_size) for one in left_of(of))

    assert told(brought.labelling) == told(labelling)
    assert (brought.images, brought.held_out) == (5, 0)
    for label in brought.labelling.labels.select_related("image__generator"):
        assert (label.source, label.image.generator.name) == ("imported", "released")
    assert figures_of(brought.labelling)["preferred"] == 2


def test_import_labels_can_be_trained_on(tmp_path, rung):
    export_labels(labelling=make_labelling(4), out=tmp_path / "out", progress=quietly)
    brought = import_labels(path=tmp_path / "out" / FILE, generator_name="released", progress=quietly)
    make_tiny_generator()
    run = Run(
        kind="adapter", preset="paper", config={"labelling": str(brought.labelling.public_id), "generator": "tiny"}
    )

    plan = _plan(run)

    assert (plan.config.alpha, plan.config.labels_from) == (2.0, "hps")
    assert _examples(plan, plan.labels).counts() == {"preferred": 4, "non_preferred": 4, "regularisation": 0}


def test_import_labels_name_no_generator_so_a_training_must(tmp_path, rung):
    export_labels(labelling=make_labelling(4), out=tmp_path / "out", progress=quietly)
    labelling = import_labels(path=tmp_path / "out" / FILE, generator_name="released", progress=quietly).labelling
    make_tiny_generator()

    with pytest.raises(UnableToTrainAdapter, match="names no generator: say whose model is adapted, by `generator`"):
        _plan(Run(kind="adapter", preset="paper", config={"labelling": str(labelling.public_id)}))


def test_import_labels_of_captions_gives_regularisation_images(tmp_path, rung):
    lines = [{"file_name": picture(tmp_path, f"more/{at}.jpg", at), "caption": f"a photograph {at}"} for at in range(3)]
    path = write_lines(tmp_path, *lines)
    labelling = make_labelling(3)

    assert read_lines(path) == [Captioned(line["file_name"], line["caption"]) for line in lines]
    brought = import_labels(path=path, generator_name="photographs", progress=quietly)

    assert (brought.labelling, brought.images, brought.held_out) == (None, 3, 0)
    config = {"labelling": str(labelling.public_id), "regularisation": ["photographs"], "evaluation_share": 0}
    plan = _plan(Run(kind="adapter", preset="paper", config=config))
    examples = _examples(plan, labelling)
    assert {one.prompt for one in examples.training if one.kind == "regularisation"} == {
        line["caption"] for line in lines
    }


def test_import_labels_leaves_held_out_prompts_held_out(tmp_path):
    held_out = make_prompt(split=Split.TEST)
    fields = {"type": "positive", "confidence": 0.9, "batch_size": 4}
    path = write_lines(
        tmp_path,
        {"id": 1, "file_name": picture(tmp_path, "a.jpg", 1), "prompt": held_out.text, **fields},
        {"id": 2, "file_name": picture(tmp_path, "b.jpg", 2), "prompt": "a new one", **fields},
    )

    brought = import_labels(path=path, generator_name="released", progress=quietly)

    assert brought.held_out == 1
    assert [image.prompt for image in left_of(brought.labelling)] == ["a new one"]


GOOD = {"id": 1, "file_name": "a.jpg", "prompt": "a cat", "type": "positive", "confidence": 0.9, "batch_size": 4}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "annotation.jsonl, record 2: it is no JSON"),
        ("[1]", "record 2: it is no object"),
        (GOOD | {"type": "good"}, "record 2: type is neither positive nor negative but 'good'"),
        (GOOD | {"confidence": 2}, "confidence is no number above 0 and up to 1 but 2"),
        (GOOD | {"batch_size": 0}, "batch_size is below 1"),
        (GOOD | {"id": "x"}, "id is no whole number but 'x'"),
        (GOOD | {"prompt": " "}, "the prompt is blank"),
        (GOOD | {"file_name": "../a.jpg"}, "file_name leads out of the folder"),
        (GOOD | {"file_name": "b.jpg"}, "b.jpg: it cannot be read"),
        ({name: value for name, value in GOOD.items() if name != "type"}, "it has no type"),
    ],
)
def test_import_labels_with_a_bad_line_imports_nothing_and_names_it(tmp_path, line, words):
    picture(tmp_path / "set", "a.jpg")
    picture(tmp_path, "a.jpg")
    path = write_lines(tmp_path / "set", GOOD, line)

    with pytest.raises(UnableToImport, match="nothing was imported") as told:
        import_labels(path=path, generator_name="released", progress=quietly)

    assert words in str(told.value)
    assert not any(model.objects.exists() for model in (Image, Prompt, Generator, Labelling))


def test_import_labels_of_nothing_or_a_mixture_says_so(tmp_path):
    picture(tmp_path, "a.jpg")
    for lines, words in (((), "holds no line"), ((GOOD, {"file_name": "a.jpg", "caption": "x"}), "mixes lines")):
        with pytest.raises(UnableToImport, match=words):
            import_labels(path=write_lines(tmp_path, *lines), generator_name="released", progress=quietly)
    with pytest.raises(UnableToImport, match="can't be read"):
        read_lines(tmp_path / "missing.jsonl")
    assert not Generator.objects.exists()


def test_export_labels_with_an_unreadable_image_leaves_nothing(tmp_path):
    labelling = make_labelling(1)
    image = labelling.labels.get(kind="preferred").image
    image.file.storage.delete(image.file.name)

    with pytest.raises(UnableToExport, match=str(image.public_id)):
        export_labels(labelling=labelling, out=tmp_path / "out", progress=quietly)

    assert list(tmp_path.glob("out*")) + list(tmp_path.glob(".out*")) == []


def test_commands_take_labels_out_and_in(tmp_path):
    labelling = make_labelling(2)
    make_patterned(make_prompt(), None)
    out = StringIO()

    call_command("export_labels", tmp_path / "out", labelling=str(labelling.public_id)[:8], is_json=True, stdout=out)
    call_command("import_labels", tmp_path / "out" / FILE, generator="released", is_json=True, stdout=out)

    counts, brought = map(json.loads, out.getvalue().splitlines())
    assert counts == {"positive": 2, "negative": 2}
    assert brought == {"labelling": str(Labelling.objects.latest("pk").public_id), "images": 4, "held_out": 0}
    with pytest.raises(CommandError, match="is there already"):
        call_command("export_labels", tmp_path / "out", labelling=str(labelling.public_id))
    with pytest.raises(CommandError, match="no one labelling 'nope'"):
        call_command("export_labels", tmp_path / "other", labelling="nope")
    with pytest.raises(CommandError, match="can't be read"):
        call_command("import_labels", tmp_path / "nothing.jsonl", generator="released")
