"""The figures of an automatic proof as tables: what is printed in each cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotations.models import Image
from scoring.reward_hacking import Arm

ARMS: dict[Arm, Any] = {
    "original": gettext_lazy("Original"),
    "original_marked": gettext_lazy("Original, mark as negative prompt"),
    "adapted": gettext_lazy("Adapted"),
    "adapted_marked": gettext_lazy("Adapted, mark as negative prompt"),
}

FAMILIES = {"hps": "HPS", "clip": "CLIP", "aesthetic": gettext_lazy("Aesthetic score")}


REASONS = {
    "blank": gettext_lazy("blank"),
    "broken": gettext_lazy("broken"),
    "unsafe": gettext_lazy("blocked by the safety checker"),
    "blurred": gettext_lazy("blurred"),
    "hidden": gettext_lazy("hidden by a person"),
    "missing": gettext_lazy("missing"),
    "alike": gettext_lazy("with equal images"),
}


@dataclass(frozen=True)
class Cell:
    """One figure of one arm."""

    value: str
    notes: tuple[str, ...] = ()
    """Below it: the difference to the original, prompts won, each with its interval."""


@dataclass(frozen=True)
class Row:
    """One measure of all arms."""

    label: str
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ExampleRow:
    """One prompt as all arms drew it."""

    prompt: str
    images: tuple[tuple[str, Image], ...]
    """(arm, image)"""


@dataclass(frozen=True)
class ProofTables:
    """A proof laid out for the page."""

    arms: tuple[str, ...]
    left_out: tuple[str, ...]
    """For each arm with images that can't be shown, how many and why."""
    rows: tuple[Row, ...]
    scales: tuple[str, ...]
    sweep: tuple[Row, ...]
    """A row per guidance, a cell per scale of the adapter."""
    examples: tuple[ExampleRow, ...]


def proof_tables(proof: Mapping[str, Any]) -> ProofTables:
    """Lay out the metrics of a proof run; one SQL statement for the images."""
    return ProofTables(
        arms=tuple(str(label) for label in ARMS.values()),
        left_out=left_out_lines(proof.get("left_out_images", {}), ARMS),
        rows=(*(_score_row(score) for score in proof["scores"]), *_set_rows(proof["sets"])),
        scales=tuple(_number(scale, 2) for scale in dict.fromkeys(cell["scale"] for cell in proof["sweep"])),
        sweep=_sweep_rows(proof["sweep"]),
        examples=_examples(proof["examples"]),
    )


def left_out_lines(left_out: Mapping[str, Mapping[str, int]], names: Mapping[Any, Any]) -> tuple[str, ...]:
    """Such as `Adapted: 3 blank, 1 broken`, for each arm of which something is left out; names are by arm."""
    lines = []
    for arm, name in names.items():
        reasons = left_out.get(arm, {})
        counts = (
            f"{number_format(reasons[reason], force_grouping=True)} {label}"
            for reason, label in REASONS.items()
            if reason in reasons
        )
        if reasons:
            lines.append(f"{name}: {', '.join(counts)}")
    return tuple(lines)


def _score_row(score: Mapping[str, Any]) -> Row:
    cells = []
    for arm in ARMS:
        notes = []
        if gain := score["differences"].get(arm):
            notes.append(_estimated(gain, _signed))
        if won := score["wins"].get(arm):
            notes.append(_("wins %(share)s") % {"share": _estimated(won, _percent)})
        cells.append(Cell(_number(score["means"].get(arm), 3), tuple(notes)))
    return Row(str(FAMILIES.get(score["family"], score["family"])), score["scorer"], tuple(cells))


def _set_rows(sets: Mapping[str, Any]) -> list[Row]:
    on, to = sets["tower"], _("to %(reference)s, n = %(n)s") % {
        "reference": sets["reference"],
        "n": number_format(sets["reference_images"], force_grouping=True),
    }  # fmt: skip
    if "original" not in sets["fid"]:
        to += "; " + _("how far the images moved from the original's, which is no measure of quality")
    kept = _("%(part)s of the original's") % {"part": _estimated(sets["diversity"]["kept"], _percent)}
    rows = [
        Row("FID", f"{on}; {to}", _cells(sets["fid"], 2)),
        Row("KID", f"{on}; {to}", _cells(sets["kid"], 4)),
        Row(_("Variety between seeds"), _("mean of 1 − cos; %(on)s") % {"on": on}, _with_note(sets["diversity"], kept)),
    ]
    rows.append(Row(_("Closeness to training images"), _near(sets), _cells(sets["closeness"], 3)))
    if sets["training_images"]:
        shares = {arm: _percent(share) for arm, share in sets["copies"].items()}
        nearer = _("nearer to a training image than any other training image is")
        rows.append(Row(_("Copies"), nearer, tuple(Cell(shares.get(arm, "–")) for arm in ARMS)))
    return rows


def _near(sets: Mapping[str, Any]) -> str:
    """What closeness is measured to, and whether that is all that the training learnt from."""
    looked_at = sets["training_images"]
    in_all = sets.get("training_images_in_all", looked_at)  # older proofs don't say
    n = number_format(looked_at, force_grouping=True)
    if not looked_at:
        return _("not measured: the images that it was trained on are not here")
    if looked_at == in_all:
        return _("cos to the nearest of %(n)s training images") % {"n": n}
    m = number_format(in_all, force_grouping=True)
    return _("cos to the nearest of %(n)s training images; %(n)s of %(m)s looked at") % {"n": n, "m": m}


def _with_note(diversity: Mapping[str, Any], note: str) -> tuple[Cell, ...]:
    return tuple(Cell(_number(diversity.get(arm), 3), (note,) if arm == "adapted_marked" else ()) for arm in ARMS)


def _cells(values: Mapping[str, float], digits: int) -> tuple[Cell, ...]:
    return tuple(Cell(_number(values.get(arm), digits)) for arm in ARMS)


def _sweep_rows(sweep: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    rows: dict[float, list[Cell]] = {}
    for cell in sweep:
        said = []
        for name, gain in cell["differences"].items():
            won = cell["wins"][name]
            wins = _("wins %(share)s") % {"share": _estimated(won, _percent)}
            said += [f"{name} {_estimated(gain, _signed)}", f"{wins}, n = {gain['n']}"]
        if left_out := cell.get("left_out"):
            said.append(_("left out as blank, broken or blocked: %(n)s") % {"n": left_out})
        rows.setdefault(cell["guidance"], []).append(Cell("", tuple(said)))
    return tuple(Row(_number(guidance, 2), "", tuple(cells)) for guidance, cells in rows.items())


def _examples(examples: Sequence[Mapping[str, Any]]) -> tuple[ExampleRow, ...]:
    wanted = [public_id for example in examples for public_id in example["images"].values()]
    images = {str(image.public_id): image for image in Image.objects.filter(public_id__in=wanted)}
    return tuple(
        ExampleRow(
            example["prompt"],
            tuple(
                (str(label), images[public_id])
                for arm, label in ARMS.items()
                if (public_id := example["images"].get(arm)) in images
            ),
        )
        for example in examples
    )


def _estimated(estimate: Mapping[str, Any], printed: Any) -> str:
    """An estimate with its interval, where it has one."""
    value, low, high = printed(estimate["value"]), estimate["low"], estimate["high"]
    if low is None:
        return str(value)
    return f"{value} " + _("(%(low)s to %(high)s)") % {"low": printed(low), "high": printed(high)}


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else number_format(f"{value:.{digits}f}", digits).replace("-", "−")


def _signed(value: float | None) -> str:
    return f"+{_number(value, 3)}" if value is not None and value > 0 else _number(value, 3)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{_number(100 * value, 0)} %"
