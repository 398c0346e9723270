"""Metrics against people in detail, as text for the terminal and as records for JSON."""

from collections.abc import Callable

from hps_site.dashboard.findings import describe
from hps_site.dashboard.queries.agreement import AgreementReport, ScorerDetail, ScorerPair, SliceReport
from hps_site.dashboard.queries.demographic_slices import GroupReport
from hps_site.dashboard.text_reports import share_text, text_table
from scoring.metrics import Estimate

KINDS: dict[str, Callable[[str], str]] = {
    "all": lambda _label: "all",
    "images": lambda label: f"{label} images",
    "agreement": lambda label: f"{label} sets",
    "generators": lambda label: label,
    "tag": lambda label: f"tag {label}",
}


def agreement(report: AgreementReport) -> str:
    """Warnings first, then slices, conventions, correlations and calibration."""
    lines = [f"WARNING: {describe(finding)}" for finding in report.findings]
    lines += ["", "By slice; p by a paired sign-flip permutation test by prompt beside base CLIP", *_slices(report)]
    if report.pairs:
        title = "Each two metrics on all choices that both have scored; Holm's p is of all these tests together"
        lines += ["", title, *_pairs(report.pairs)]
    lines += ["", "Pairwise accuracy by convention, 95 % interval", *_conventions(report.whole)]
    lines += ["", "Correlation of scores with shares of votes, within sets", *_correlations(report.details)]
    lines += ["", "Calibration: mean probability given, share chosen", *_calibration(report.details)]
    return "\n".join(lines)


def agreement_record(report: AgreementReport) -> dict[str, object]:
    """The same report as plain values."""
    return {
        "warnings": [
            {"scorer": str(one.version), "signature": one.signature, "look": one.look, "text": describe(one)}
            for one in report.findings
        ],
        "slices": [_slice_record(one) for one in report.slices],
        "slices_left_out": report.left_out,
        "scorer_pairs": [
            {
                "scorer": str(one.version),
                "other": str(one.other),
                "paired_test": one.test.to_record(),
                "p_value_holm": one.adjusted_p,
            }
            for one in report.pairs
        ],
        "details": [
            {
                "scorer": str(one.version),
                "correlations": one.correlations.to_record(),
                "calibration": one.calibration.to_record(),
                "generator_rankings": one.generators.to_record(),
            }
            for one in report.details
        ],
    }


def groups(report: GroupReport) -> list[str]:
    """The metrics by demographic group; no lines where no group may be told of."""
    rows = [
        (f"{group.question}: {group.label}", str(version), *_coarse(share))
        for group in report.groups
        for version, share in zip(report.versions, group.shares, strict=True)
        if share is not None
    ]
    if not rows:
        return []
    title = "By demographic group of ten people or more, coarse so that nobody can be found; each person counts alike"
    return ["", title, *text_table(["group", "metric", "top-1 of n", "95 % interval"], rows)]


def group_record(report: GroupReport) -> list[dict[str, object]]:
    """The same report as plain values."""
    return [
        {
            "question": group.question,
            "group": group.label,
            "scorers": [
                {"scorer": str(version), "top_1": share.to_record()}
                for version, share in zip(report.versions, group.shares, strict=True)
                if share is not None
            ],
        }
        for group in report.groups
    ]


def _coarse(share: Estimate) -> tuple[str, str]:
    assert share.value is not None  # what is told has a value and an interval
    assert share.low is not None
    assert share.high is not None
    return f"{100 * share.value:.0f} %", f"{100 * share.low:.0f} to {100 * share.high:.0f} %"


def _slice_record(report: SliceReport) -> dict[str, object]:
    return {
        "kind": report.slice.kind,
        "label": report.slice.label,
        "choices": report.choices,
        "prompts": report.prompts,
        "chance": report.chance.to_record(),
        "human_ceiling": report.ceiling.to_record(),
        "highest_attainable": report.attainable.to_record(),
        "scorers": [
            {
                "scorer": str(result.version),
                "top_1": result.accuracy.to_record(),
                "pairwise": [estimate.to_record() for estimate in result.pairwise],
                "paired_test": None if result.test is None else result.test.to_record(),
            }
            for result in report.results
        ],
    }


def _slices(report: AgreementReport) -> list[str]:
    heads = ["slice", "choices", "prompts", "metric", "top-1", "95 % interval", "pairwise", "p"]
    rows: list[tuple[object, ...]] = []
    for part in report.slices:
        name = KINDS[part.slice.kind](part.slice.label)
        for result in part.results:
            p = "" if result.test is None else _p_text(result.test.p_value)
            half = share_text(result.pairwise[0])[0]
            rows.append((name, part.choices, part.prompts, str(result.version), *share_text(result.accuracy), half, p))
        for label, estimate in (
            ("human ceiling", part.ceiling),
            ("highest attainable", part.attainable),
            ("chance", part.chance),
        ):
            rows.append((name, part.choices, part.prompts, label, *share_text(estimate), "", ""))
    lines = text_table(heads, rows)
    if report.left_out:
        lines.append(f"Not shown: {report.left_out} slices with fewer than ten choices or beyond twenty of a kind.")
    return lines


def _pairs(pairs: list[ScorerPair]) -> list[str]:
    heads = ["metric", "less", "points", "95 % interval", "choices", "p", "p, Holm"]
    rows = [
        (
            str(one.version),
            str(one.other),
            *_points(one.test.difference),
            one.test.difference.n,
            _p_text(one.test.p_value),
            _p_text(one.adjusted_p),
        )
        for one in pairs
    ]
    return text_table(heads, rows)


def _conventions(whole: SliceReport) -> list[str]:
    rows = [
        (str(result.version), estimate.name, *share_text(estimate), estimate.n, estimate.unit)
        for result in whole.results
        for estimate in result.pairwise
    ]
    return text_table(["metric", "convention", "value", "95 % interval", "n", "of"], rows)


def _correlations(details: list[ScorerDetail]) -> list[str]:
    rows = [
        (str(one.version), estimate.name, *_coefficient(estimate), estimate.n, estimate.unit)
        for one in details
        for estimate in (*one.coefficients, one.generators)
    ]
    return text_table(["metric", "coefficient", "value", "95 % interval", "n", "of"], rows)


def _calibration(details: list[ScorerDetail]) -> list[str]:
    rows = [
        (str(one.version), f"{100 * of.predicted:.1f} %", *share_text(of.observed), of.observed.n)
        for one in details
        for of in one.calibration.bins
    ]
    errors = [
        f"{one.version}: {one.calibration.error.name} {share}, {interval}"
        for one in details
        for share, interval in [share_text(one.calibration.error)]
        if one.calibration.n
    ]
    return [*text_table(["metric", "predicted", "chosen", "95 % interval", "images"], rows), *errors]


def _coefficient(estimate: Estimate) -> tuple[str, str]:
    if estimate.value is None:
        return "-", estimate.reason
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f}", estimate.reason
    return f"{estimate.value:+.3f}", f"{estimate.low:+.3f} to {estimate.high:+.3f}"


def _points(difference: Estimate) -> tuple[str, str]:
    if difference.value is None:
        return "-", difference.reason
    value = f"{100 * difference.value:+.1f}"
    if difference.low is None or difference.high is None:
        return value, difference.reason
    return value, f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"


def _p_text(p: float | None) -> str:
    # Four digits: beyond twelve prompts the test can give no less than .0001.
    return "-" if p is None else f"{p:.4f}"
