"""The figures of a run or version as rows of a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

# The order of the figures in the table of a version; others follow.
FIGURES: dict[str, Any] = {
    "top_one": gettext_lazy("This version"),
    "base_top_one": gettext_lazy("Base CLIP"),
    "chance": gettext_lazy("Chance"),
    "human_ceiling": gettext_lazy("Human ceiling"),
    "highest_attainable": gettext_lazy("Highest attainable"),
    "top_one_difference": gettext_lazy("Difference to base CLIP"),
    "in_use": gettext_lazy("Version in use at that time"),
    "in_use_difference": gettext_lazy("Difference to that version"),
    "pairwise": gettext_lazy("This version, by pairs"),
    "unseen_top_one": gettext_lazy("Trained without the generator"),
    "unseen_difference": gettext_lazy("Without it, difference to base CLIP"),
    "seen_top_one": gettext_lazy("Trained on all generators"),
    "seen_difference": gettext_lazy("Without it, difference to trained on all"),
}


@dataclass(frozen=True)
class Figure:
    """One row of a table of figures, as printed."""

    label: str
    name: str
    value: str
    interval: str
    n: int
    unit: str


def figures_of(metrics: Mapping[str, Any]) -> list[Figure]:
    """The estimates among the figures of a run or version, as rows of a table."""
    estimates = {name: value for name, value in metrics.items() if isinstance(value, dict) and "value" in value}
    if isinstance(in_use := metrics.get("in_use"), dict):
        estimates["in_use"] = in_use["top_one"]
        estimates["in_use_difference"] = in_use["difference"]
    order = [*(name for name in FIGURES if name in estimates), *(name for name in estimates if name not in FIGURES)]
    return [
        _figure(
            str(FIGURES.get(name, name.replace("_", " "))),
            estimates[name],
            _points if name.endswith("difference") else _percent,
        )
        for name in order
    ]


def _figure(label: str, estimate: Mapping[str, Any], printed: Callable[[float], str]) -> Figure:
    if estimate["value"] is None:
        return Figure(label, estimate["name"], _("not known"), estimate.get("reason", ""), estimate["n"], "")
    low, high = estimate["low"], estimate["high"]
    interval = "" if low is None else _("%(low)s to %(high)s") % {"low": printed(low), "high": printed(high)}
    return Figure(label, estimate["name"], printed(estimate["value"]), interval, estimate["n"], estimate["unit"])


def _percent(share: float) -> str:
    return f"{number_format(100 * share, 1)} %"


def _points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    sign = "+" if difference > 0 else "\u2212" if difference < 0 else ""
    return _("%(sign)s%(points)s points") % {"sign": sign, "points": number_format(abs(100 * difference), 1)}
