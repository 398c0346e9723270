"""The reports of the dashboard as text for the terminal and as records for JSON."""

from collections.abc import Sequence

from annotations.models import Campaign
from hps_site.dashboard.queries.scorers import ScorerReport, ScorerResult
from scoring.metrics import Estimate
from scoring.rankings import Ranking
from worker.services.image_sets import SetReport

STANDINGS = {
    "base": "the base",
    "ahead": "ahead of CLIP by more than its interval",
    "behind": "behind CLIP by more than its interval",
    "no difference shown": "no difference shown",
    "not compared": "base CLIP has scored none of these images",
}


def ranking(campaigns: Sequence[Campaign], ranking: Ranking) -> str:
    """Places as a table, best first, each with the ranks that its interval allows; below, what people lean to."""
    rows = [
        (
            ranking.band(place.generator),
            place.generator,
            f"{place.log_worth:+.3f}",
            f"{place.low:+.3f} to {place.high:+.3f}",
            place.chosen,
            place.shown,
        )
        for place in ranking.places
    ]
    lines = [_heading("Generators by what people chose", campaigns)]
    lines += text_table(["rank", "generator", "log-worth", "95 % interval", "chosen", "shown"], rows)
    if ranking.leanings:
        leanings = ", ".join(f"{place} {leaning:+.3f}" for place, leaning in enumerate(ranking.leanings, start=1))
        lines.append(f"Leaning to places on the screen, by votes given here, taken out of the log-worths: {leanings}.")
    return "\n".join([*lines, *never_compared(ranking)])


def never_compared(ranking: Ranking) -> list[str]:
    """A line that names the groups which nobody compared with each other; none where all were."""
    if len(ranking.components) == 1:
        return []
    groups = "; ".join(", ".join(component) for component in ranking.components)
    return [f"These groups were never compared with each other, so only places within one count: {groups}."]


def scorers(campaigns: Sequence[Campaign], report: ScorerReport) -> str:
    """Scorers against people as a table, with chance and the human ceiling below."""
    rows = [
        *(_scorer_row(result) for result in report.results),
        ("human ceiling", *share_text(report.ceiling), "", report.ceiling.n, ""),
        ("chance", *share_text(report.chance), "", report.chance.n, ""),
    ]
    lines = [
        _heading("Metrics against people", campaigns),
        f"{report.measure} on {report.choices} held-out choices on {report.prompts} prompts; intervals by prompt",
        *text_table(["metric", report.measure, "95 % interval", "beside base CLIP", "choices", "prompts"], rows),
        *_gaps(campaigns, report),
    ]
    return "\n".join(lines)


def scorer_record(campaigns: Sequence[Campaign], report: ScorerReport) -> dict[str, object]:
    """The same report as plain values."""
    return {
        "campaigns": [campaign.slug for campaign in campaigns],
        "is_synthetic": any(campaign.is_synthetic for campaign in campaigns),
        "measure": report.measure,
        "split": "test",
        "choices": report.choices,
        "prompts": report.prompts,
        "chance": report.chance.to_record(),
        "human_ceiling": report.ceiling.to_record(),
        "scorers": [_result_record(result) for result in report.results],
        "missing": [{"scorer": str(gap.version), "choices": gap.choices} for gap in report.missing],
        "families_without_version": [str(family.value) for family in report.families_without_version],
    }


def sets(campaigns: Sequence[Campaign], report: SetReport) -> str:
    """Measures of what was chosen and what was passed over as a table."""
    rows = [
        (
            estimate.name.removesuffix(f" on {report.tower}"),
            "-" if estimate.value is None else f"{estimate.value:.4g}",
            "" if estimate.low is None or estimate.high is None else f"{estimate.low:.4g} to {estimate.high:.4g}",
        )
        for estimate in report.estimates
    ]
    lines = [
        _heading("Sets of images: chosen against passed over", campaigns),
        f"IS, FID and KID on {report.tower}; {report.choices} decided choices on {report.prompts} prompts",
        "One of the images passed over is drawn for each choice; intervals by prompt.",
        *text_table(["measure", "value", "95 % interval"], rows),
        "A measure tells the two apart where the interval of its difference leaves out 0.",
        *(
            f"{test.name.removesuffix(f' on {report.tower}')}: p = {test.p_value:.3f} by {test.exchanges} exchanges of"
            " the sides within prompts"
            for test in report.exchanges
        ),
    ]
    if report.left_out:
        lines.append(f"{report.left_out} choices are left out, because not all their images can be read.")
    return "\n".join(lines)


def set_record(campaigns: Sequence[Campaign], report: SetReport) -> dict[str, object]:
    """The same report as plain values."""
    return {
        "campaigns": [campaign.slug for campaign in campaigns],
        "is_synthetic": any(campaign.is_synthetic for campaign in campaigns),
    } | report.to_record()


def text_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table in columns; numbers stand to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(heads), *cells]) for column in range(len(heads))]
    is_number = [
        bool(rows) and all(isinstance(row[column], int) or row[column] == "" for row in rows)
        for column in range(len(heads))
    ]

    def line(texts: Sequence[str]) -> str:
        columns = zip(texts, widths, is_number, strict=True)
        return "  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in columns).rstrip()

    return [line(heads), line(["-" * width for width in widths]), *(line(row) for row in cells)]


def _heading(title: str, campaigns: Sequence[Campaign]) -> str:
    mark = " [synthetic]" if any(campaign.is_synthetic for campaign in campaigns) else ""
    return f"{title}: {', '.join(campaign.slug for campaign in campaigns)}{mark}"


def _scorer_row(result: ScorerResult) -> tuple[object, ...]:
    marks = ["in use"] * result.version.is_current + ["synthetic"] * result.version.is_synthetic
    name = f"{result.version} ({', '.join(marks)})" if marks else str(result.version)
    standing = STANDINGS[result.standing]
    if result.difference is not None and result.difference.value is not None:
        standing += f", {_points(result.difference)}"
    return name, *share_text(result.accuracy), standing, result.choices, result.prompts


def share_text(estimate: Estimate) -> tuple[str, str]:
    """A share and its interval, or why there is none."""
    if estimate.value is None:
        return "-", estimate.reason
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.value:.1f} %", estimate.reason
    return f"{100 * estimate.value:.1f} %", f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"


def _points(difference: Estimate) -> str:
    text = f"{100 * (difference.value or 0):+.1f} points"
    if difference.low is None or difference.high is None:
        return text
    return f"{text} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def _gaps(campaigns: Sequence[Campaign], report: ScorerReport) -> list[str]:
    """What to do about scores that are not there."""
    slug = campaigns[0].slug if len(campaigns) == 1 else "SLUG"
    lines = [
        f"{gap.version} lacks scores for {gap.choices} of these choices: "
        f"run `score_images --campaign {slug} --scorer {gap.version}`."
        for gap in report.missing
    ]
    if report.families_without_version:
        names = " and ".join(str(family.label) for family in report.families_without_version)
        lines.append(f"There is no version of {names} yet: `retrain_classifier` makes one.")
    return lines


def _result_record(result: ScorerResult) -> dict[str, object]:
    return {
        "scorer": str(result.version),
        "family": result.version.family,
        "is_current": result.version.is_current,
        "is_synthetic": result.version.is_synthetic,
        "top_1": result.accuracy.to_record(),
        "ahead_of_base_clip": None if result.difference is None else result.difference.to_record(),
        "standing": result.standing,
        "choices": result.choices,
        "prompts": result.prompts,
    }
