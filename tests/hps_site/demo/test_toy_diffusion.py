"""The tiny diffusion model: its text half is the CLIP's own, and training goes on where it stopped."""

from pathlib import Path

import pytest
import torch

from hps_site.demo import toy_clip, toy_diffusion
from hps_site.demo.scenes import every_scene
from hps_site.demo.toy_diffusion import DiffusionTraining, Lesson

FEW = every_scene()[::97]
TEXTS = [FEW[0].caption, f"Weird image. {FEW[1].caption}", "", "It's 3 a.m., hello!", " ".join(["long"] * 40)]
SHORT = DiffusionTraining(steps=4, batch=4, warmup_steps=2, seed=5)


@pytest.fixture(scope="module")
def clip_weights() -> dict[str, torch.Tensor]:
    """A CLIP with no weight left at its first value: zeros and ones would hide a mixed-up name."""
    generator = torch.Generator().manual_seed(0)
    weights = toy_clip.build().state_dict()
    return {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in weights.items()}


def lesson(clip_weights: dict[str, torch.Tensor]) -> Lesson:
    vae = toy_diffusion.fit_vae(seed=1, images=64)
    return Lesson(SHORT, vae, toy_diffusion.text_encoder(clip_weights), FEW)


def test_tokenizer_gives_open_clips_ids_but_for_the_padding() -> None:
    ours = toy_diffusion.tokenizer()(TEXTS, padding="max_length", truncation=True, max_length=24).input_ids
    theirs = toy_clip.tokens(TEXTS).tolist()
    end = 49407

    def without_padding(ids: list[int]) -> list[int]:
        return ids[: ids.index(end) + 1]

    assert [len(ids) for ids in ours] == [24] * 5
    assert [without_padding(ids) for ids in ours] == [without_padding(ids) for ids in theirs]
    assert all(set(ids[ids.index(end) :]) == {end} for ids in ours)


def test_text_encoder_has_the_hidden_states_of_the_clip(clip_weights: dict[str, torch.Tensor]) -> None:
    clip = toy_clip.build()
    clip.load_state_dict(clip_weights)
    ids = toy_clip.tokens(TEXTS)

    with torch.inference_mode():
        hidden = clip.transformer(clip.token_embedding(ids) + clip.positional_embedding, attn_mask=clip.attn_mask)
        ours = clip.ln_final(hidden)
        theirs = toy_diffusion.text_encoder(clip_weights)(ids).last_hidden_state

    assert torch.allclose(ours, theirs, atol=1e-4)
    assert theirs.std() > 0.1


def test_encode_captions_equals_what_the_pipeline_computes(clip_weights: dict[str, torch.Tensor]) -> None:
    encoder = toy_diffusion.text_encoder(clip_weights)
    pipeline = toy_diffusion.assemble(toy_diffusion.fit_vae(seed=1, images=16), encoder, toy_diffusion.build_unet())

    shown, empty = pipeline.encode_prompt(TEXTS, "cpu", 1, do_classifier_free_guidance=True)

    assert torch.allclose(toy_diffusion.encode_captions(encoder, TEXTS), shown, atol=1e-5)
    assert torch.allclose(toy_diffusion.encode_captions(encoder, [""])[0], empty[0], atol=1e-5)


def test_train_that_resumes_equals_one_that_ran_through(clip_weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    through = toy_diffusion.train(lesson(clip_weights), tmp_path / "through.safetensors")
    stopped = lesson(clip_weights)
    for _ in range(2):
        stopped.advance()
    stopped.save(tmp_path / "resumed.safetensors")

    resumed = toy_diffusion.train(lesson(clip_weights), tmp_path / "resumed.safetensors")

    pairs = zip(through.state_dict().items(), resumed.state_dict().values(), strict=True)
    assert [name for (name, one), other in pairs if not torch.equal(one, other)] == []


def test_train_changes_the_average_and_leaves_the_text_encoder(clip_weights: dict[str, torch.Tensor]) -> None:
    taught = lesson(clip_weights)
    before = [weight.clone() for weight in taught.average.parameters()]

    losses = [taught.advance() for _ in range(3)]

    assert all(loss > 0 for loss in losses)
    assert any((old != new).any() for old, new in zip(before, taught.average.parameters(), strict=True))
    assert not any(weight.requires_grad for weight in toy_diffusion.text_encoder(clip_weights).parameters())


def test_pipeline_from_gives_back_what_was_packed(clip_weights: dict[str, torch.Tensor]) -> None:
    vae, unet = toy_diffusion.fit_vae(seed=1, images=64), toy_diffusion.build_unet()

    pipeline = toy_diffusion.pipeline_from(clip_weights, toy_diffusion.packed(vae, unet))

    assert torch.equal(pipeline.vae.basis, vae.basis)
    pairs = zip(unet.parameters(), pipeline.unet.parameters(), strict=True)
    assert all(torch.equal(one.half().float(), other) for one, other in pairs)
    assert pipeline.tokenizer.model_max_length == 24
