"""Kept results of studies that never took place, with a known answer."""

from hps_site.demo.study.declaration import CONTROLS, DECLARED, ORIGINAL, WITHOUT_NEGATIVE, Declaration
from hps_site.demo.study.kept import HACKED, POSITIVE, arm_record, hps_record, people_record

CAPTIONS = [f"caption {number}" for number in range(40)]
DECLARATION = Declaration(name="imagined", seeds=(0, 1))

BETTER = [1.0] * 36 + [-1.0] * 4
EVEN = [1.0] * 20 + [-1.0] * 20
WORSE = [-value for value in BETTER]


def judged(differences, hps=None, clip=None):
    """An arm that lies so far above an original whose every figure is -3."""
    figures = {"utility": differences, "hps": hps or differences, "clip": clip or differences}
    return {"looks_like": {}} | {name: [value - 3 for value in values] for name, values in figures.items()}


def mark(gain):
    def of(value):
        ends = {"gain_low": value - 0.01, "gain_high": value + 0.01}
        return {"images": 50, "marked_loss": 0.4 - value, "unmarked_loss": 0.4, "gain": value} | ends

    return {"after": {"non_preferred": of(gain), "preferred": of(-gain)}}


def record(arms, gain=0.04, **more):
    times = {"seconds": 2.0, "cpu_seconds": 1.0}
    images = {ORIGINAL.name: judged([0.0] * len(CAPTIONS))} | {arm.name: images for arm, images in arms.items()}
    return {"captions": CAPTIONS, "images": images, "mark": mark(gain)} | times | more


def votes(credits):
    return {"captions": CAPTIONS, "credits": credits, "seconds": 1.0, "cpu_seconds": 1.0}


def keep(kept, *, declared=BETTER, credits=(1.0,) * 36 + (0.0,) * 4, controls=EVEN, seeds=DECLARATION.seeds):
    """All results of a study with these differences between its arms and the original."""
    without = [0.0] * len(CAPTIONS)
    both = {DECLARED: judged(declared), WITHOUT_NEGATIVE: judged(without)}
    records = {POSITIVE: record(both), HACKED: record(both, people=votes(list(credits)))}
    for seed in seeds:
        records[hps_record(seed)] = figures()
        records[arm_record(DECLARED, seed)] = record(both)
        records[people_record(seed)] = votes(list(credits))
        for arm in CONTROLS:
            records[arm_record(arm, seed)] = record({arm: judged(controls)})
    for name, content in records.items():
        kept.make(name, lambda content=content: dict(content))


def figures():
    return {"figures": {"top_one": {"value": 0.53}, "base_top_one": {"value": 0.4}}, "scores": {}}
