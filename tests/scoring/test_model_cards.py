from scoring.metrics import Estimate
from scoring.model_cards import LIMITS, model_card

MANIFEST = {
    "kind": "hps",
    "name": "HPS from ViT-L/14",
    "is_synthetic": False,
    "model": {"architecture": "ViT-L-14-quickgelu"},
    "preprocessing": {"size": 224, "resize": "longest"},
    "base": {"name": "OpenAI ViT-L/14", "sha256": "0123456789abcdef"},
    "data_sha256": "d" * 64,
    "train_choices": 20205,
    "test_choices": 5000,
    "config": {"preset": "paper"},
    "seed": 7,
}


def estimate(name, value, reason=""):
    interval = (None, None) if reason else (value - 0.01, value + 0.01)
    return Estimate(name, value, *interval, n=5000, reason=reason).to_record()


def test_a_card_tells_data_agreement_figures_limits_and_use():
    metrics = {
        "top_one": estimate("top-1 of n", 0.765),
        "chance": estimate("chance", 0.261),
        "human_ceiling": estimate("human ceiling", None, reason="nobody voted twice on one set"),
        "verdict": "Better than base CLIP.",
    }

    card = model_card("hps-3", MANIFEST, metrics=metrics, data={"people": 2659, "votes": 25205})

    lines = card.splitlines()
    assert lines[:3] == ["# hps-3: HPS from ViT-L/14", "", "Better than base CLIP."]
    assert [line for line in lines if line.startswith("## ")] == [
        "## Model", "## Data", "## How far people agree", "## Measured on held-out prompts", "## Limits", "## Use",
        "## How it was made",
    ]  # fmt: skip
    assert "- people: 2659" in lines
    assert "- choices held out: 5000" in lines
    assert "- images: 224 x 224 pixels, by the longest side, the rest black" in lines
    assert "| top-1 of n | 0.7650 | 0.7550 to 0.7750 | 5000 choices |" in lines
    assert "| top-1 of n, by chance | 0.2610 | 0.2510 to 0.2710 | 5000 choices |" in lines
    assert "| human ceiling | - | nobody voted twice on one set | 5000 choices |" in lines
    assert "- how people count: all alike" in lines
    assert all(f"- {limit}" in lines for limit in LIMITS["hps"])
    assert "--scorer hps-3" in card
    assert "Synthetic" not in card


def test_a_card_says_how_people_were_weighed():
    reliability = {"people": 12, "least": 0.5, "most": 0.934, "sha256": "e" * 64}

    card = model_card("hps-4", MANIFEST | {"reliability": reliability}, metrics={})

    assert (
        "- how people count: by their reliability when the votes were frozen, 0.50 to 0.93 of 12 people; 0.50 where"
        " nothing was known\n"
    ) in card


def test_a_card_says_synthetic_and_what_is_not_known():
    card = model_card("hps-1", {"kind": "hps", "name": "HPS v1", "is_synthetic": True}, metrics={})

    assert "**Synthetic**" in card
    assert "What it was trained on is not known to this site." in card
    assert "Nothing was measured yet" in card


ADAPTER = {
    "kind": "adapter",
    "name": "adapter of SD 1.4",
    "mark": "Weird image. ",
    "base": {"name": "SD 1.4", "sha256": "0123456789abcdef"},
    "data_sha256": "d" * 64,
    "kohya": {"file": "kohya_lora_weights.safetensors"},
}


def test_a_card_of_an_adapter_tells_its_mark_its_images_and_how_to_use_both_files():
    metrics = {
        "labels": {"scorer": "hps-3", "images": 4000},
        "examples": {"preferred": 37572, "non_preferred": 21108, "regularisation": 200231},
        "mark": {"was_learnt": True},
        "verdict": "The mark was learnt.",
    }

    card = model_card("adapter-1", ADAPTER, metrics=metrics)

    lines = card.splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        "## Model", "## Data", "## The mark", "## Measured on held-out prompts", "## Limits", "## Use",
    ]  # fmt: skip
    assert lines[lines.index("## Data") + 1 :][:6] == [
        "- images labelled by: hps-3",
        "- preferred images trained on: 37572",
        "- non-preferred images trained on: 21108",
        "- regularisation images trained on: 200231",
        f"- SHA-256 of the images and captions: {'d' * 64}",
        "- the split is by prompt",
    ]
    assert lines[lines.index("## The mark") + 1].startswith("`Weird image. `, the space at its end included")
    assert 'negative_prompt="Weird image. "' in card
    assert "`kohya_lora_weights.safetensors`: put it under `models/Lora` or `models/loras`" in card
    assert '"was_learnt": true' in card


def test_a_card_of_an_adapter_draws_as_its_generator_does():
    drawn = {
        "negative_prompt": "Weird image. blurry", "steps": 25, "guidance": 1.2, "width": 768, "height": None,
        "scheduler": "ddim",
    }  # fmt: skip

    card = model_card("adapter-1", ADAPTER | {"drawn": drawn}, metrics={})

    assert (
        'image = pipe(prompt, negative_prompt="Weird image. blurry", num_inference_steps=25, guidance_scale=1.2,'
        " generator=noise, width=768).images[0]"
    ) in card
    assert "This site's generator samples by `ddim`" in card


def test_the_script_in_the_card_of_an_adapter_is_a_program_of_ten_lines():
    script = model_card("adapter-1", ADAPTER, metrics={}).split("```python\n")[1].split("```")[0]

    compile(script, "card", "exec")
    assert len([line for line in script.splitlines() if line]) <= 11
