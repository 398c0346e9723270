"""Numbers as the dashboard prints them: shares as percentages, differences in points, each with its interval."""

import math
from collections.abc import Callable
from typing import Protocol

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

register = template.Library()

NOTHING = "–"


class HasInterval(Protocol):
    """Something with the ends of its 95 % interval, None where there is none."""

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


@register.filter
def percent(share: float | None) -> str:
    """A share of 0 to 1 as a percentage with one digit."""
    return NOTHING if share is None else f"{_digits(100 * share)} %"


@register.filter
def percent_range(estimate: HasInterval) -> str:
    """The interval of a share."""
    return _range(estimate, lambda share: _digits(100 * share), unit=" %")


@register.filter
def whole_percent(share: float) -> str:
    """A share that is known no better than to whole percents."""
    return f"{_digits(100 * share, 0)} %"


@register.filter
def whole_percent_range(estimate: HasInterval) -> str:
    """The interval of such a share."""
    return _range(estimate, lambda share: _digits(100 * share, 0), unit=" %")


@register.filter
def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return NOTHING if difference is None else _signed(100 * difference)


@register.filter
def points_range(estimate: HasInterval) -> str:
    """The interval of a difference of shares."""
    return _range(estimate, lambda difference: _signed(100 * difference))


@register.filter
def two_digits(value: float) -> str:
    """A coefficient such as alpha, with a true minus sign."""
    return _digits(value, 2).replace("-", "−")


@register.filter
def coefficient_range(estimate: HasInterval) -> str:
    """The interval of a coefficient."""
    return _range(estimate, two_digits)


@register.filter
def four_figures(value: float | None) -> str:
    """A number of any size with four significant figures and a true minus sign."""
    return NOTHING if value is None else number_format(float(f"{value:.4g}")).replace("-", "−")


@register.filter
def four_figures_range(estimate: HasInterval) -> str:
    """The interval of a number of any size."""
    return _range(estimate, four_figures)


@register.filter
def p_value(value: float) -> str:
    """A probability, or that it is less than one in a thousand."""
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{_digits(value, 3)}"


@register.filter
def log_worth(value: float) -> str:
    """A log-worth with two digits and its sign."""
    return _signed(value, digits=2)


@register.filter
def log_worth_range(estimate: HasInterval) -> str:
    """The interval of a log-worth."""
    return _range(estimate, log_worth)


@register.filter
def seconds(milliseconds: float | None) -> str:
    """A time in seconds with one digit."""
    return NOTHING if milliseconds is None else _("%(seconds)s s") % {"seconds": _digits(milliseconds / 1000)}


@register.filter
def hours(number: float | None) -> str:
    """A span of hours in the unit in which people think of it: minutes, hours or days."""
    if number is None:
        return NOTHING
    if number < 1.5:
        minutes = max(1, math.ceil(60 * number))
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    if number < 48:
        whole = round(number)
        return ngettext("%(n)d hour", "%(n)d hours", whole) % {"n": whole}
    days = round(number / 24)
    return ngettext("%(n)d day", "%(n)d days", days) % {"n": days}


@register.filter
def svg_percent(place: float) -> str:
    """A place in a chart; never written with a decimal comma."""
    return f"{place:g}%"


@register.filter
def share_width(share: float) -> str:
    """A share of 0 to 1 as the width of a bar."""
    return svg_percent(round(100 * share, 2))


@register.filter
def svg_pixels(place: float) -> str:
    """A height in a chart; never written with a decimal comma."""
    return f"{place:g}"


def _range(estimate: HasInterval, written: Callable[[float], str], *, unit: str = "") -> str:
    if estimate.low is None or estimate.high is None:
        return NOTHING
    return _("%(low)s to %(high)s") % {"low": written(estimate.low), "high": written(estimate.high)} + unit


def _digits(number: float, digits: int = 1) -> str:
    # Rounded first: number_format cuts digits off.
    return number_format(f"{number:.{digits}f}", decimal_pos=digits)


def _signed(number: float, *, digits: int = 1) -> str:
    """With a true minus sign; what rounds to nothing has no sign."""
    rounded = round(number, digits)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{_digits(abs(rounded), digits)}"
