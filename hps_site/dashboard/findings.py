"""What looks wrong with a scorer, in words: on the page and on the terminal."""

from django.utils.translation import gettext as _

from hps_site.dashboard.queries.agreement import Finding
from hps_site.dashboard.templatetags.figures import percent, percent_range, two_digits


def describe(finding: Finding) -> str:
    """One or two sentences: what was seen, and what it may mean."""
    values = {
        "scorer": str(finding.version),
        "measured": percent(finding.measured.value),
        "range": percent_range(finding.measured),
        "beside": percent(finding.beside.value) if finding.beside else "",
        "beside_range": percent_range(finding.beside) if finding.beside else "",
    }
    if finding.signature == "follows":
        values["look"] = str(LOOKS[finding.look]())
        values["measured"] = two_digits(finding.measured.value or 0.0)
        values["beside"] = two_digits((finding.beside.value if finding.beside else None) or 0.0)
    return WORDS[finding.signature]() % values


# Called when a page is made, in the language of its reader.
LOOKS = {
    "size": lambda: _("the size of the image file in pixels"),
    "format": lambda: _("the format of the image file"),
    "brightness": lambda: _("the brightness of the picture"),
}

WORDS = {
    "below chance": lambda: _(
        "%(scorer)s disagrees with people: it finds the chosen image in %(measured)s (%(range)s), chance in %(beside)s."
    ),
    "not above chance": lambda: _(
        "%(scorer)s is not told apart from chance: %(measured)s (%(range)s), chance %(beside)s."
    ),
    "not above base": lambda: _(
        "%(scorer)s is not above the interval of base CLIP: %(measured)s, base CLIP %(beside)s (%(beside_range)s). "
        "It may have learnt nothing."
    ),
    "above ceiling": lambda: _(
        "%(scorer)s is above the human ceiling: %(measured)s (%(range)s), ceiling %(beside)s (%(beside_range)s). "
        "Did votes on these prompts leak into its training?"
    ),
    "drift": lambda: _(
        "%(scorer)s is better on prompts that it was trained on: %(beside)s (%(beside_range)s), on held-out ones "
        "%(measured)s (%(range)s). It has learnt them by heart."
    ),
    "follows": lambda: _(
        "%(scorer)s follows %(look)s: within sets Spearman's rho is %(measured)s, for what people chose %(beside)s."
    ),
    "excluded people": lambda: _(
        "%(scorer)s has learnt from people who are excluded by now: %(measured)s of the votes in its snapshot. "
        "Only a new training leaves them out."
    ),
}
