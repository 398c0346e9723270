"""The model in training as a function: from rows of a table of choices to embeddings, the frozen part kept aside."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from scoring import hps
from scoring.distributed import Processes
from scoring.halves import encode_image, encode_text, text_length
from scoring.losses import shared_targets
from scoring.preferences import Choice
from scoring.preprocessing import Preprocessing
from worker.classifier import towers
from worker.classifier.config import ClassifierConfig
from worker.classifier.data import ChoiceTable, ImageReader
from worker.classifier.features import FrozenTokens, nobody
from worker.classifier.trunk_cache import TrunkCache

from open_clip.model import CLIP  # isort: skip - after towers

SCORED_AT_ONCE = 64

Tell = Callable[[str, int, int], None]
"""Told a stage, how much of it is done and of how much; may raise to stop."""


class Encoder:
    """Embeddings of a table's images and prompts by a model whose last blocks are being trained."""

    def __init__(
        self,
        model: CLIP,
        config: ClassifierConfig,
        table: ChoiceTable,
        reader: ImageReader,
        thread: Executor,
        dtype: torch.dtype,
        processes: Processes,
    ) -> None:
        self._model, self._config, self._table, self._processes = model, config, table, processes
        self._reader, self._thread, self._dtype = reader, thread, dtype
        self._device: torch.device = model.logit_scale.device
        self._tokenize = hps.tokenizer(model)
        self._ids = self._tokenize(list(table.prompts))
        self._images = FrozenTokens(self._image_tokens, self._ask)
        self._texts = FrozenTokens(self._text_tokens, nobody)

    def use(
        self,
        cache: TrunkCache,
        base_sha256: str,
        preprocessing: Preprocessing,
        hashes: Mapping[str, str] | None,
        tell: Tell,
    ) -> str:
        """Take from a cache what the frozen blocks make, and put into it what isn't there; what came of it, in words.

        Args:
            cache: of any trainings.
            base_sha256: hash of the weights that the frozen blocks have.
            preprocessing: that of the reader.
            hashes: SHA-256 of each image's file by key; without them, images are known by their pixels.
            tell: told how far it is.
        """
        model, config = self._model, self._config
        about = {"base_sha256": base_sha256, "precision": str(self._dtype).removeprefix("torch.")}
        image_shelf = cache.shelf(
            about
            | {
                "half": "image",
                "frozen_blocks": len(model.visual.transformer.resblocks) - config.image_blocks,
                "preprocessing": preprocessing.to_manifest(),
            }
        )
        text_shelf = cache.shelf(
            about | {"half": "text", "frozen_blocks": len(model.transformer.resblocks) - config.text_blocks}
        )
        keys = self._table.images
        image_names = [hashes[key] for key in keys] if hashes else self._hashes_of_pixels(keys, tell)
        text_names = [hashlib.sha256(row.numpy().tobytes()).hexdigest() for row in self._ids]
        images = self._images.keep(
            image_shelf,
            image_names,
            self._thread,
            lambda done, total: tell("reading images", done, total),
            self._processes,
        )
        texts = self._texts.keep(
            text_shelf,
            text_names,
            self._thread,
            lambda done, total: tell("reading prompts", done, total),
            self._processes,
        )
        return f"Frozen blocks, images: {images}; prompts: {texts}; {cache}."

    def fetch_ahead(self, rows: NDArray[np.int64]) -> None:
        """Begin to fetch what the embeddings of these rows will need."""
        self._images.ask(np.unique(self._images_of(rows)))

    def embeddings(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the images of these choices, (B, N, D), and of their prompts, (B, D): float32, of length one."""
        places = np.unique(self._images_of(rows))
        # Beyond a choice's own images stand any others; the mask of the answers leaves them out.
        back = np.searchsorted(places, self._table.image_ids[rows]).clip(max=len(places) - 1)
        prompts, prompt_back = np.unique(self._table.prompt_ids[rows], return_inverse=True)
        ids = self._ids[torch.from_numpy(prompts)]
        length = text_length(self._model, ids)
        with self._autocast():
            tokens = self._images.tokens(places, self._device, self._dtype)
            images = towers.image_head(self._model, tokens, self._config.image_blocks)
            tokens = self._texts.tokens(prompts, self._device, self._dtype)[:, :length]
            texts = towers.text_head(self._model, tokens, ids[:, :length].to(self._device), self._config.text_blocks)
        images, texts = images.float(), texts.float()
        return images[torch.from_numpy(back).to(self._device)], texts[torch.from_numpy(prompt_back).to(self._device)]

    def answers(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mask, (B, N), people's shares, (B, N), and weights, (B,), of these choices, as the losses take them."""
        table = self._table
        mask, votes, ties = (
            torch.from_numpy(given[rows]).to(self._device) for given in (table.mask, table.votes, table.ties)
        )
        return mask, shared_targets(votes, ties, mask), votes.sum(dim=-1) + ties

    @torch.no_grad()
    def scores(self, choices: Sequence[Choice], on_done: Callable[[int, int], None]) -> list[list[float]]:
        """100 * cosine for every image of any choices: whole passes in float32, nothing from a cache."""
        keys = list(dict.fromkeys(key for choice in choices for key in choice.images))
        prompts = list(dict.fromkeys(choice.prompt for choice in choices))
        images: dict[str, torch.Tensor] = {}
        texts: dict[str, torch.Tensor] = {}
        for start in range(0, len(prompts), SCORED_AT_ONCE):
            some = prompts[start : start + SCORED_AT_ONCE]
            encoded = encode_text(self._model, self._tokenize(some).to(self._device))
            texts |= zip(some, functional.normalize(encoded, dim=-1), strict=True)
        for start in range(0, len(keys), SCORED_AT_ONCE):
            some = keys[start : start + SCORED_AT_ONCE]
            self._reader.ask(keys[start + SCORED_AT_ONCE : start + 2 * SCORED_AT_ONCE])
            pixels = torch.from_numpy(self._reader.pixels(some)).to(self._device)
            encoded = encode_image(self._model.visual, pixels)
            images |= zip(some, functional.normalize(encoded, dim=-1), strict=True)
            on_done(start + len(some), len(keys))
        return [
            (100 * torch.stack([images[key] for key in choice.images]) @ texts[choice.prompt]).tolist()
            for choice in choices
        ]

    def _hashes_of_pixels(self, keys: Sequence[str], tell: Tell) -> list[str]:
        """What the cache calls images of which no file hash is known: SHA-256 of their pixels after the resize."""
        hashes: list[str] = []
        for start in range(0, len(keys), SCORED_AT_ONCE):
            some = keys[start : start + SCORED_AT_ONCE]
            self._reader.ask(keys[start + SCORED_AT_ONCE : start + 2 * SCORED_AT_ONCE])
            hashes += [hashlib.sha256(square.tobytes()).hexdigest() for square in self._reader.squares(some)]
            tell("reading images", len(hashes), len(keys))
        return hashes

    def _images_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        places: NDArray[np.int64] = self._table.image_ids[rows][self._table.mask[rows]]
        return places

    def _ask(self, places: NDArray[np.int64]) -> None:
        self._reader.ask([self._table.images[place] for place in places])

    @torch.no_grad()
    def _image_tokens(self, places: NDArray[np.int64]) -> torch.Tensor:
        pixels = torch.from_numpy(self._reader.pixels([self._table.images[place] for place in places]))
        with self._autocast():
            tokens = towers.image_trunk(self._model, pixels.to(self._device), self._config.image_blocks)
        return self._rounded(tokens)

    @torch.no_grad()
    def _text_tokens(self, places: NDArray[np.int64]) -> torch.Tensor:
        ids = self._ids[torch.from_numpy(places)].to(self._device)
        with self._autocast():
            tokens = towers.text_trunk(self._model, ids, self._config.text_blocks)
        return self._rounded(tokens)

    def _rounded(self, tokens: torch.Tensor) -> torch.Tensor:
        """As the cache would give them back, whether there is one or not: it never changes what is learnt."""
        return tokens.to(torch.bfloat16) if self._config.cache_megabytes else tokens

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32)
