"""Numbers as the dashboard prints them: shares as percentages, differences in points, each with its interval."""

from typing import Protocol

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext as _

register = template.Library()


class HasInterval(Protocol):
    """An estimate with the ends of its 95 % interval."""

    @property
    def value(self) -> float: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


@register.filter
def percent(share: float | None) -> str:
    """A share of 0 to 1 as a percentage with one digit."""
    return "–" if share is None else f"{_one_digit(100 * share)} %"


@register.filter
def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "–" if difference is None else f"{_signed(100 * difference)}"


@register.filter
def percent_range(estimate: HasInterval | None) -> str:
    """The interval of a share."""
    if estimate is None:
        return "–"
    return _("%(low)s to %(high)s %%") % {
        "low": _one_digit(100 * estimate.low),
        "high": _one_digit(100 * estimate.high),
    }


@register.filter
def points_range(estimate: HasInterval | None) -> str:
    """The interval of a difference of shares."""
    if estimate is None:
        return "–"
    return _("%(low)s to %(high)s") % {"low": _signed(100 * estimate.low), "high": _signed(100 * estimate.high)}


@register.filter
def log_worth(value: float) -> str:
    """A log-worth with two digits and its sign."""
    return _signed(value, digits=2)


@register.filter
def seconds(milliseconds: float | None) -> str:
    """A time in seconds with one digit."""
    return "–" if milliseconds is None else _("%(seconds)s s") % {"seconds": _one_digit(milliseconds / 1000)}


@register.filter
def svg_percent(place: float) -> str:
    """A place in a chart; never written with a decimal comma."""
    return f"{place:g}%"


@register.filter
def svg_pixels(place: float) -> str:
    """A height in a chart; never written with a decimal comma."""
    return f"{place:g}"


def _one_digit(number: float) -> str:
    return number_format(number, decimal_pos=1)


def _signed(number: float, *, digits: int = 1) -> str:
    """With a true minus sign; what rounds to nothing has no sign."""
    rounded = round(number, digits)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else "±"
    return f"{sign}{number_format(abs(rounded), decimal_pos=digits)}"
