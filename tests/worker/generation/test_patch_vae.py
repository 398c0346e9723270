"""The autoencoder of the toy world: whitened latents, images that come back, the face that pipelines expect."""

from pathlib import Path

import pytest
import torch

from worker.generation.patch_vae import PatchVAE


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((40, 3, 8, 8), generator=generator)
    fine = torch.rand((40, 3, 32, 32), generator=generator)
    return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3) * 1.6 - 0.9 + 0.1 * fine


def test_fit_gives_every_channel_mean_0_and_variance_1(images: torch.Tensor) -> None:
    latents = PatchVAE.fit(images, latent_channels=16).encode(images).latent_dist.sample()

    assert latents.shape == (40, 16, 8, 8)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(16), atol=1e-3)
    assert torch.allclose(latents.var((0, 2, 3), unbiased=False), torch.ones(16), atol=1e-3)


def test_decode_gives_back_the_image_where_all_components_are_kept(images: torch.Tensor) -> None:
    vae = PatchVAE.fit(images, latent_channels=48)

    decoded = vae.decode(vae.encode(images).latent_dist.mode()).sample

    assert torch.allclose(decoded, images, atol=1e-4)


def test_decode_loses_less_the_more_components_are_kept(images: torch.Tensor) -> None:
    losses = []
    for channels in (3, 12, 24):
        vae = PatchVAE.fit(images, latent_channels=channels)
        (decoded,) = vae.decode(vae.encode(images).latent_dist.mode(), return_dict=False)
        losses.append((decoded - images).square().mean().item())

    assert losses == sorted(losses, reverse=True)
    assert losses[0] < 0.01


def test_from_pretrained_reads_what_save_pretrained_wrote(images: torch.Tensor, tmp_path: Path) -> None:
    vae = PatchVAE.fit(images, latent_channels=16)

    vae.save_pretrained(tmp_path)
    again = PatchVAE.from_pretrained(tmp_path, local_files_only=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert torch.equal(vae.encode(images).latent_dist.mode(), again.encode(images).latent_dist.mode())
