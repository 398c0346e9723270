"""The model card of a version: its README.md, made from what its manifest and its figures say, and nothing else."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from scoring.intervals import CONFIDENCE

FILE = "README.md"

SCORE = "Higher is better, and **only images of the same prompt can be compared**: "

WHAT = {
    "clip": f"100 * cosine of image and prompt by a CLIP that people's choices have not changed. {SCORE}it is no"
    " measure of quality.",
    "hps": f"100 * cosine of image and prompt by a CLIP trained on people's choices. {SCORE}a mean over prompts is no"
    " measure of a generator.",
    "aesthetic": "What a head on a CLIP's image half makes of an image; the prompt is not looked at. Higher is better.",
    "adapter": "A LoRA adapter for a diffusion model that has learnt a mark for images that people don't prefer; as"
    " negative prompt the mark leads away from them.",
}

LIMITS = {
    "clip": (
        "It tells what is in an image better than how good the image is.",
    ),
    "hps": (
        "It has the taste of the people whose choices it was trained on.",
        "On other generators and prompts its agreement with people is unknown until `evaluate_scorers` measures it.",
        "It can be exploited: images optimised for a score get worse by people's eyes at some point.",
        "Small differences mean little; look at how often it agrees with people, beside how often people agree.",
    ),
    "aesthetic": (
        "It knows nothing of the prompt: a beautiful image of something else is as good to it.",
        "It has the taste of the people who rated or chose for it.",
    ),
    "adapter": (
        "It moves images towards one group's taste, and away from what a score by a model called non-preferred.",
        "Whether people prefer what it makes is for a blind study to say.",
    ),
}  # fmt: skip

FIGURES = {
    "top_one": "top-1 of n",
    "pairwise": "pairwise",
    "base_top_one": "top-1 of n, by the model it was trained from",
    "top_one_difference": "top-1 of n, difference to the model it was trained from",
    "chance": "top-1 of n, by chance",
    "human_ceiling": "human ceiling",
    "highest_attainable": "highest attainable",
}
"""What `worker.classifier.evaluation.measure` gives, in the order in which it is read."""

PEOPLE = ("human_ceiling", "highest_attainable", "chance")


def model_card(
    title: str, manifest: Mapping[str, Any], *, metrics: Mapping[str, Any], data: Mapping[str, Any] | None = None
) -> str:
    """A page in Markdown: what it is, its data, people's agreement, what was measured, limits, use, how it was made.

    Args:
        title: the version's name, such as `hps-3`.
        manifest: of the artefact, see `scoring.checkpoints.write`.
        metrics: what was measured; estimates by the names of `FIGURES`, and perhaps a `verdict`.
        data: facts of the votes it was trained on, by words for people.
    """
    kind = str(manifest.get("kind"))
    parts = [
        f"# {title}: {manifest.get('name') or kind}",
        *_notes(manifest, metrics),
        WHAT.get(kind, ""),
        _section("Model", _model(manifest)),
        _section("Data", _data(manifest, data or {}, metrics)),
        _section("The mark", _mark(manifest))
        if kind == "adapter"
        else _section("How far people agree", _table(metrics, PEOPLE) or ["Not measured here."]),
        _section("Measured on held-out prompts", _measured(metrics)),
        _section("Limits", [f"- {limit}" for limit in LIMITS.get(kind, ())]),
        _section("Use", _use_adapter(manifest) if kind == "adapter" else _use_scorer(title)),
        _section("How it was made", _made(manifest)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", *lines]) if lines else ""


def _notes(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    synthetic = "**Synthetic**: made from drawn images or simulated votes; it says nothing of people."
    return [*([synthetic] if manifest.get("is_synthetic") else []), str(metrics.get("verdict", ""))]


def _model(manifest: Mapping[str, Any]) -> list[str]:
    lines = []
    architecture = manifest.get("model", {}).get("architecture")
    if isinstance(architecture, str):
        lines.append(f"- architecture: {architecture} of open_clip")
    elif architecture:
        lines.append(f"- architecture: `{json.dumps(architecture, sort_keys=True)}`")
    if seen := manifest.get("preprocessing"):
        side = "longest side, the rest black" if seen.get("resize") == "longest" else "shortest side, the middle kept"
        lines.append(f"- images: {seen.get('size')} x {seen.get('size')} pixels, by the {side}")
    if base := manifest.get("base"):
        lines.append(f"- trained from: {base.get('name')} (weights {str(base.get('sha256'))[:12]})")
    if source := manifest.get("converted_from"):
        lines.append(f"- converted from: {source['file']} (SHA-256 {source['sha256'][:12]})")
    return lines


def _data(manifest: Mapping[str, Any], data: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    is_adapter = manifest.get("kind") == "adapter"
    known = dict(data)
    if scorer := metrics.get("labels", {}).get("scorer"):
        known["images labelled by"] = scorer
    known |= {
        f"{kind.replace('_', '-')} images trained on": count for kind, count in metrics.get("examples", {}).items()
    }
    known |= {
        words: manifest[key]
        for key, words in (
            ("train_choices", "choices trained on"),
            ("test_choices", "choices held out"),
            ("data_sha256", f"SHA-256 of the {'images and captions' if is_adapter else 'choices'}"),
        )
        if key in manifest
    }
    if not known:
        return ["What it was trained on is not known to this site."]
    lines = [f"- {words}: {value}" for words, value in known.items()]
    if "data_sha256" in manifest:
        if not is_adapter:
            lines.append(f"- how people count: {_weights(manifest.get('reliability'))}")
        lines.append("- the split is by prompt")
    return lines


def _weights(reliability: Mapping[str, Any] | None) -> str:
    if not reliability:
        return "all alike"
    return (
        f"by their reliability when the votes were frozen, {reliability['least']:.2f} to {reliability['most']:.2f}"
        f" of {reliability['people']} people; 0.50 where nothing was known"
    )


def _mark(manifest: Mapping[str, Any]) -> list[str]:
    mark = manifest.get("mark", "")
    told = (
        f"`{mark}`, the space at its end included, stood before the caption of every non-preferred image, and before no"
        " other. As negative prompt it leads away from what these images have in common."
    )
    return [told]


def _measured(metrics: Mapping[str, Any]) -> list[str]:
    lines = _table(metrics, [name for name in FIGURES if name not in PEOPLE])
    shown = {"verdict", *(name for name in FIGURES if isinstance(metrics.get(name), Mapping))}
    rest = {name: value for name, value in metrics.items() if name not in shown}
    if rest:
        lines += ["", "```json", json.dumps(rest, indent=2, sort_keys=True, ensure_ascii=False), "```"]
    return lines or ["Nothing was measured yet; `evaluate_scorers` compares it with people."]


def _table(metrics: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    rows = [
        f"| {FIGURES[name]} | {_number(each['value'])} | {_interval(each)} | {each['n']} {each['unit']} |"
        for name in names
        if isinstance(each := metrics.get(name), Mapping)
    ]
    return [f"| figure | value | {CONFIDENCE:.0%} interval | n |", "| --- | --- | --- | --- |", *rows] if rows else []


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(estimate: Mapping[str, Any]) -> str:
    if estimate["low"] is None or estimate["high"] is None:
        return str(estimate["reason"])
    return f"{estimate['low']:.4f} to {estimate['high']:.4f}"


def _use_adapter(manifest: Mapping[str, Any]) -> list[str]:
    base, mark = manifest.get("base", {}).get("name"), manifest.get("mark", "")
    drawn = {"negative_prompt": mark, "steps": 50, "guidance": 7.5, **manifest.get("drawn", {})}
    settings = (
        f"negative_prompt={json.dumps(drawn['negative_prompt'])}, num_inference_steps={drawn['steps']},"
        f" guidance_scale={drawn['guidance']}, generator=noise"
    )
    settings += "".join(f", {side}={drawn[side]}" for side in ("width", "height") if drawn.get(side))
    lines = [
        f"FOLDER is the one of this file, BASE that of {base}, from which the adapter was trained.",
        "",
        "```python",
        "import hashlib",
        "import torch",
        "from diffusers import StableDiffusionPipeline",
        "",
        'pipe = StableDiffusionPipeline.from_pretrained("BASE", safety_checker=None)',
        'pipe.load_lora_weights("FOLDER", weight_name="pytorch_lora_weights.safetensors")',
        'prompt = "a horse on a beach"',
        "seed = int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % (2**31 - 1)  # this site's image number 0",
        "noise = torch.Generator().manual_seed(seed)",
        f"image = pipe(prompt, {settings}).images[0]",
        'image.save("horse.png")',
        "```",
    ]
    if scheduler := drawn.get("scheduler"):
        lines += ["", f"This site's generator samples by `{scheduler}`, plain diffusers by the model's own scheduler."]
    if kohya := manifest.get("kohya"):
        place = f"`{kohya['file']}`: put it under `models/Lora` or `models/loras`"
        lines += ["", f"AUTOMATIC1111, ComfyUI and others read {place}, and `{mark}` into the negative prompt."]
    return lines


def _use_scorer(title: str) -> list[str]:
    return [
        "```python",
        "from PIL import Image",
        "from scoring.hps import load_scorer",
        "",
        'scorer = load_scorer("FOLDER")  # once; keep it',
        'print(scorer.score([Image.open("a.jpg"), Image.open("b.jpg")], "a horse on a beach"))',
        "```",
        "",
        f"Or `python manage.py score_images --scorer {title} --prompt TEXT IMAGE...`. FOLDER is the one of this file.",
    ]


def _made(manifest: Mapping[str, Any]) -> list[str]:
    facts = {key: manifest[key] for key in ("config", "seed", "steps", "git_commit", "libraries") if manifest.get(key)}
    return ["```json", json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False), "```"] if facts else []
