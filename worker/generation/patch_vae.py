"""An autoencoder without training, for the toy world: 4 x 4 patches in their principal components, whitened.

It has the face of diffusers' `AutoencoderKL`, so that the real StableDiffusionPipeline and the adapter training work
with it as with any other.
"""

from dataclasses import dataclass

import torch
from torch import nn

import scoring.backend  # noqa: F401  before diffusers: makes its own import of torchvision possible

from diffusers import ConfigMixin, ModelMixin  # isort: skip
from diffusers.configuration_utils import register_to_config  # isort: skip
from diffusers.models.autoencoders.vae import DecoderOutput  # isort: skip

PATCH = 4
"""Side of a patch in pixels: an image of 32 x 32 has latents of 8 x 8."""


@dataclass(frozen=True)
class ExactLatents:
    """What stands in the place of a distribution: there is one latent per image, its mode is all there is."""

    latents: torch.Tensor

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """The latents; nothing here is random."""
        return self.latents

    def mode(self) -> torch.Tensor:
        """The latents."""
        return self.latents


@dataclass(frozen=True)
class PatchVAEOutput:
    """What `PatchVAE.encode` gives, named as diffusers names it."""

    latent_dist: ExactLatents


class PatchVAE(ModelMixin, ConfigMixin):
    """Images in -1..1 to latents of variance 1 in every channel, and back with the least loss that a linear map allows.

    All channels have the same variance ("fully whitened"), since the noise that diffusion adds is the same for all:
    with the variances left as they are, the channels that carry a shape's edges drown in it first.
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 16,
        in_channels: int = 3,
        scaling_factor: float = 1.0,
        # The pipeline reads the factor between pixels and latents from this list's length: 2 ** (3 - 1) = PATCH.
        block_out_channels: tuple[int, ...] = (1, 1, 1),
    ) -> None:
        super().__init__()
        values = in_channels * PATCH * PATCH
        self.mean = nn.Parameter(torch.zeros(values), requires_grad=False)
        self.basis = nn.Parameter(torch.eye(values)[:, :latent_channels].clone(), requires_grad=False)
        self.deviation = nn.Parameter(torch.ones(latent_channels), requires_grad=False)

    @classmethod
    def fit(cls, images: torch.Tensor, latent_channels: int) -> "PatchVAE":
        """The autoencoder whose components explain most of these images.

        Args:
            images: (N, 3, H, W) in -1..1, sides multiples of 4.
            latent_channels: components kept, at most 48.
        """
        vae: PatchVAE = cls(latent_channels=latent_channels, in_channels=images.shape[1])
        patches = _to_patches(images).movedim(1, -1).reshape(-1, vae.mean.numel()).double()
        mean = patches.mean(0)
        covariance = (patches - mean).T @ (patches - mean) / len(patches)
        variances, components = torch.linalg.eigh(covariance)  # ascending
        kept = torch.arange(len(variances) - 1, len(variances) - 1 - latent_channels, -1)
        vae.mean.data = mean.float()
        vae.basis.data = components[:, kept].float()
        vae.deviation.data = variances[kept].clamp_min(1e-8).sqrt().float()
        return vae

    def encode(self, x: torch.Tensor) -> PatchVAEOutput:
        """Images (N, 3, H, W) in -1..1 to latents (N, channels, H/4, W/4), in `latent_dist`."""
        centred = _to_patches(x) - self.mean.view(-1, 1, 1)
        latents = torch.einsum("nvhw,vc->nchw", centred, self.basis) / self.deviation.view(-1, 1, 1)
        return PatchVAEOutput(latent_dist=ExactLatents(latents))

    def decode(
        self, z: torch.Tensor, *, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> DecoderOutput | tuple[torch.Tensor]:
        """Latents (N, channels, h, w) to images (N, 3, 4h, 4w), about -1..1, in `sample`."""
        patches = torch.einsum("nchw,vc->nvhw", z * self.deviation.view(-1, 1, 1), self.basis)
        images = nn.functional.pixel_shuffle(patches + self.mean.view(-1, 1, 1), PATCH)
        return DecoderOutput(sample=images) if return_dict else (images,)


def _to_patches(images: torch.Tensor) -> torch.Tensor:
    return nn.functional.pixel_unshuffle(images, PATCH)
