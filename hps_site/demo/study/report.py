"""The findings in words and numbers, and as JSON."""

import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from hps_site.demo.study.declaration import Declaration
from hps_site.demo.study.findings import ArmFindings, Gain, Hacking, PositiveControl, Preference, StudyFindings
from scoring.metrics import Estimate

NAME, COLUMN = 34, 25
NOTHING = "-"


def to_record(declaration: Declaration, findings: StudyFindings) -> dict[str, Any]:
    """Everything as plain values for JSON, the verdicts in words included."""
    return {
        "is_synthetic": True,
        "key": declaration.key,
        "declaration": asdict(declaration),
        **asdict(findings),
        "verdicts": verdicts(findings),
    }


def to_text(declaration: Declaration, findings: StudyFindings) -> str:
    """A table for each part, with its verdict."""
    said = verdicts(findings)
    lines = [
        f"The study {declaration.key}. All numbers are synthetic: drawn scenes, simulated people, tiny models.",
        "Intervals of 95 %, resampled by caption. 'truth' is the hidden quality, in visible steps.",
        "",
        "1. Positive control: the mark on plainly defective drawings",
        *(_positive_lines(findings.positive_control) if findings.positive_control else ()),
        said["positive_control"],
        "",
        f"2. Adapted against original, seeds {', '.join(map(str, declaration.seeds))}",
        *(_preference_lines(findings.preference) if findings.preference else ()),
        said["preference"],
        "",
        f"3. HPS of a crowd that likes {declaration.liked_colour}",
        *(_hacking_lines(findings.hacking) if findings.hacking else ()),
        said["hacking"],
        "",
        f"{findings.seconds:,.0f} s by the clock, {findings.cpu_seconds:,.0f} s of CPU.",
    ]
    return "\n".join(lines)


def verdicts(findings: StudyFindings) -> dict[str, str]:
    """What each part shows, by the declaration."""
    positive, preference, hacking = findings.positive_control, findings.preference, findings.hacking
    return {
        "positive_control": positive_verdict(positive) if positive else "Not done yet.",
        "preference": preference_verdict(preference) if preference else "Not done yet.",
        "hacking": hacking_verdict(hacking) if hacking else "Not done yet.",
    }


def positive_verdict(part: PositiveControl) -> str:
    """The verdict of part 1."""
    learnt = "The mark was learnt" if part.is_learnt else "That the mark was learnt is not shown"
    use = "it raises the hidden truth" if part.is_of_use else "a rise of the hidden truth is not shown"
    return f"{learnt}; as negative prompt, {use}."


def preference_verdict(part: Preference) -> str:
    """The verdict of part 2: whether the declared arm is preferred, and whether the controls keep quiet."""
    if not part.is_voted:
        said = "Not all seeds are done, so there is no verdict yet."
    elif part.is_preferred:
        said = "The declared arm is preferred to the original, by the hidden truth and by people's votes."
    else:
        said = "That the declared arm is preferred to the original, by truth and by votes, is not shown."
    return f"{said} {_controls_verdict(part)}"


def _controls_verdict(part: Preference) -> str:
    if not part.controls:
        return "No control is done yet."
    finished = "" if part.are_controls_done else "The controls are not finished. "
    loud = [control.arm.name.removeprefix("control: ") for control in part.controls if not control.is_quiet]
    if loud:
        return f"{finished}Not every control shows nothing or less; as much or more: {', '.join(loud)}."
    return f"{finished}Every control {'' if part.are_controls_done else 'so far '}shows nothing or less."


def hacking_verdict(part: Hacking) -> str:
    """The verdict of part 3."""
    if not part.is_hacked:
        return "A case in which HPS rises and the truth falls is not shown."
    named = ", ".join(finding.name for finding in part.findings if not finding.is_hint)
    said = f"the product's warnings name it: {named}" if named else "no warning of the product names it"
    return f"HPS rises, the truth falls, and {said}."


def _positive_lines(part: PositiveControl) -> Iterable[str]:
    yield _row("gain of the mark, defective", _gain(part.defective))
    yield _row("gain of the mark, clean", _gain(part.clean))
    yield from _arm_lines([part.mark, part.adapted])


def _preference_lines(part: Preference) -> Iterable[str]:
    yield from _arm_lines([*part.seeds, part.together, part.without_negative, part.mark])
    yield from _arm_lines(control.arm for control in part.controls)
    for control in part.controls:
        more, truth = _number(control.declared_less_control), _number(control.declared_less_control_utility)
        seeds = ", ".join(map(str, control.seeds))
        yield f"{control.arm.name} (seeds {seeds}) shows {control.shows}:"
        yield f"  the declared arm's share of truly better images less its own {more}, truth {truth}"
    for seed, gains, top_one in zip(part.seeds, part.gains, part.hps_figures, strict=True):
        yield _row(f"seed {seed.seed}: gain on non-preferred", _gain(gains["non_preferred"]))
        yield _row(f"seed {seed.seed}: gain on preferred", _gain(gains["preferred"]))
        hps, clip = top_one["top_one"], top_one["base_top_one"]
        yield _row(f"seed {seed.seed}: top-1 of 4, HPS and CLIP", f"{_share(hps['value'])} and {_share(clip['value'])}")
    yield _row("the product's warnings and hints", ", ".join(finding.name for finding in part.findings) or "none")


def _hacking_lines(part: Hacking) -> Iterable[str]:
    yield from _arm_lines([part.arm])
    for finding in part.findings:
        yield f"{'hint' if finding.is_hint else 'warning'}, {finding.name}: {finding.text}"


def _arm_lines(arms: Iterable[ArmFindings]) -> Iterable[str]:
    columns = ("truly better", "truth", "votes", "HPS", "CLIP score")
    yield _row("", *columns)
    for arm in arms:
        name = arm.name if arm.seed is None else f"seed {arm.seed}"
        numbers = (arm.wins, arm.utility, arm.votes, arm.hps, arm.clip)
        yield _row(name, *(_number(number) for number in numbers))


def _row(name: str, *cells: str) -> str:
    return f"{name:<{NAME}}" + "".join(f"{cell:<{COLUMN}}" for cell in cells).rstrip()


def _gain(gain: Gain) -> str:
    interval = "" if gain.low is None else f" [{gain.low:+.4f}, {gain.high:+.4f}]"
    return f"{gain.gain:+.4f}{interval}, {100 * gain.share:+.1f} % of the loss without it (n {gain.images})"


def _number(estimate: Estimate | None) -> str:
    """Such as `.578 [.548, .606]` of a share, `+.431 [+.281, +.580]` of a difference."""
    if estimate is None or estimate.value is None:
        return NOTHING
    sign = "" if "share" in estimate.name else "+"
    ends = () if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
    value, *interval = (_without_zero(f"{number:{sign}.3f}") for number in (estimate.value, *ends))
    return f"{value} [{', '.join(interval)}]" if interval else value


def _share(value: float | None) -> str:
    return NOTHING if value is None else _without_zero(f"{value:.3f}")


def _without_zero(number: str) -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", number)
