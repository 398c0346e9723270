"""What the frozen trunk makes of images, worked out once and kept where it fits into memory."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from worker.classifier import towers
from worker.classifier.data import ImageReader

from open_clip.model import CLIP  # isort: skip - after towers

READ_AT_ONCE = 256


class TrunkFeatures:
    """Tokens of images after the frozen blocks, (tokens, width) each in float32: kept, or made anew when wanted.

    Keeping them spares reading the image and, for the toy model, half of the computing; for ViT-L/14 they are 1 MB per
    image. Training on kept ones and on fresh ones differs in nothing but rounding.
    """

    def __init__(
        self, model: CLIP, reader: ImageReader, keys: Sequence[str], *, trained_blocks: int, cache_megabytes: int
    ) -> None:
        self._model, self._reader, self._keys, self._trained_blocks = model, reader, keys, trained_blocks
        tokens, width = model.visual.positional_embedding.shape
        self._shape = (len(keys), tokens, width)
        self.fits = len(keys) * tokens * width * 4 <= cache_megabytes * 1_000_000
        self._kept: torch.Tensor | None = None

    def keep(self, on_read: Callable[[int, int], None]) -> None:
        """Work out all images now, if they fit.

        Args:
            on_read: called with how many were read, and of how many; may raise to stop.
        """
        if not self.fits:
            return
        kept = torch.empty(self._shape)
        for start in range(0, len(self._keys), READ_AT_ONCE):
            places = np.arange(start, min(start + READ_AT_ONCE, len(self._keys)))
            self.ask(places + READ_AT_ONCE)
            kept[start : start + len(places)] = self._make(places).cpu()
            on_read(start + len(places), len(self._keys))
        self._kept = kept

    def ask(self, places: NDArray[np.int64]) -> None:
        """Begin reading images that will soon be wanted; those beyond the end are passed over."""
        if self._kept is None:
            self._reader.ask([self._keys[place] for place in places if place < len(self._keys)])

    def tokens(self, places: NDArray[np.int64]) -> torch.Tensor:
        """Tokens of the images at these places, (n, tokens, width), on the model's device, without gradient."""
        if self._kept is not None:
            return self._kept[torch.from_numpy(places)].to(self._model.logit_scale.device)
        return self._make(places)

    @torch.no_grad()
    def _make(self, places: NDArray[np.int64]) -> torch.Tensor:
        distinct, back = np.unique(places, return_inverse=True)
        pixels = torch.from_numpy(self._reader.pixels([self._keys[place] for place in distinct]))
        tokens = towers.image_trunk(self._model, pixels.to(self._model.logit_scale.device), self._trained_blocks)
        return tokens.float()[torch.from_numpy(back).to(tokens.device)]
