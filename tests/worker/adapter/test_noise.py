"""What is random in training, against slow plain versions."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from worker.adapter.config import AdapterConfig
from worker.adapter.data import Example, Kind
from worker.adapter.noise import Batch, Draw, losses

CONFIG = AdapterConfig(batch_size=4, batch_pieces=1, seed=3)
EXAMPLES = [
    Example(str(number), f"prompt {number}", Kind.NON_PREFERRED if number % 2 else Kind.PREFERRED)
    for number in range(8)
]
LATENTS = torch.zeros(8, 3, 2, 2)


def batch(step: int, **settings) -> Batch:
    return Batch.of(step, EXAMPLES, LATENTS, 1000, replace(CONFIG, **settings))


def test_noise_offset_adds_one_number_to_each_image_and_channel():
    plain = Draw.of((2, 3, 4, 5), 1000, torch.Generator().manual_seed(1))
    random = torch.Generator().manual_seed(1)
    torch.randn(2, 3, 4, 5, generator=random), torch.randint(1000, (2,), generator=random)
    offsets = torch.randn(2, 3, 1, 1, generator=random)
    expected = plain.noise.clone()
    for image in range(2):
        for channel in range(3):
            for row in range(4):
                for column in range(5):
                    expected[image, channel, row, column] += 0.1 * offsets[image, channel, 0, 0]

    draw = Draw.of((2, 3, 4, 5), 1000, torch.Generator().manual_seed(1), noise_offset=0.1)

    assert torch.equal(draw.noise, expected)
    assert torch.equal(draw.times, plain.times)


def test_noise_offset_widens_the_mean_of_a_channel_by_its_square():
    draw = Draw.of((4000, 2, 8, 8), 1000, torch.Generator().manual_seed(0), noise_offset=0.3)

    assert draw.noise.mean((2, 3)).var() == pytest.approx(1 / 64 + 0.3**2, rel=0.05)


def test_caption_dropout_leaves_out_its_share_and_keeps_the_mark():
    captions = [caption for step in range(500) for caption in batch(step, caption_dropout=0.3).captions]

    alone = [caption in {"", CONFIG.mark} for caption in captions]
    assert np.mean(alone) == pytest.approx(0.3, abs=3 * np.sqrt(0.3 * 0.7 / 2000))
    assert captions.count("") == pytest.approx(captions.count(CONFIG.mark), rel=0.2)
    full = {caption for caption, is_alone in zip(captions, alone, strict=True) if not is_alone}
    assert full == {example.caption(CONFIG.mark) for example in EXAMPLES}


def test_without_caption_dropout_every_caption_is_whole():
    assert {*batch(0).captions, *batch(1).captions} == {example.caption(CONFIG.mark) for example in EXAMPLES}


def test_a_batch_follows_from_seed_and_step():
    one, again, next_step, other_seed = batch(5), batch(5), batch(6), batch(5, seed=4)

    assert torch.equal(one.draw.noise, again.draw.noise)
    assert (one.captions, one.places.tolist()) == (again.captions, again.places.tolist())
    assert not torch.equal(one.draw.noise, next_step.draw.noise)
    assert not torch.equal(one.draw.noise, other_seed.draw.noise)


def test_rows_of_a_batch_keep_what_belongs_together():
    whole = batch(2, caption_dropout=0.5)

    part = whole.rows(range(1, 4, 2))

    assert (len(part), part.captions) == (2, (whole.captions[1], whole.captions[3]))
    assert torch.equal(part.places, whole.places[[1, 3]])
    assert torch.equal(part.draw.noise, whole.draw.noise[[1, 3]])
    assert torch.equal(part.draw.times, whole.draw.times[[1, 3]])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_losses_are_the_squared_distance_to_noise_or_velocity(prediction):
    scheduler = DDPMScheduler(num_train_timesteps=50, prediction_type=prediction)
    latents = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    draw = Draw.of(latents.shape, 50, torch.Generator().manual_seed(1))
    seen = []

    class HalfOfWhatItSees(torch.nn.Module):
        device, dtype = torch.device("cpu"), torch.float32

        def forward(self, noisy, times, text):
            seen.append((noisy, times, text))
            return SimpleNamespace(sample=noisy / 2)

    found = losses(
        HalfOfWhatItSees(), scheduler, latents, ["a", "b", "c"], lambda captions: torch.ones(len(captions), 1, 1), draw
    )

    kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 50, dtype=np.float64))
    for image in range(3):
        signal, noise = latents[image].numpy(), draw.noise[image].numpy()
        share = kept[draw.times[image]]
        noisy = np.sqrt(share) * signal + np.sqrt(1 - share) * noise
        target = noise if prediction == "epsilon" else np.sqrt(share) * noise - np.sqrt(1 - share) * signal
        assert found[image].item() == pytest.approx(np.mean((noisy / 2 - target) ** 2), rel=1e-4)
    assert torch.equal(seen[0][1], draw.times)
