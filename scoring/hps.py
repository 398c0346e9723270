"""The scorer: 100 * cosine between a picture and its prompt, by CLIP or by a CLIP trained on people's choices.

What `load_scorer` needs in a manifest (see `scoring.checkpoints.write` for the rest):

    {"kind": "clip" or "hps",
     "model": {"architecture": "ViT-L-14-quickgelu", a name that open_clip knows, or
                               {"embed_dim": 64, "quick_gelu": true, "vision_cfg": {...}, "text_cfg": {...}}},
     "preprocessing": {"size": 32, "mean": [r, g, b], "std": [r, g, b], "resize": "longest"}}

The weights bear open_clip's own names, so that `open_clip.model.CLIP(...).load_state_dict` takes them; they may differ
in one thing alone, see `pack_token_table`.
"""

import os
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from scoring import checkpoints
from scoring.backend import pick_device  # before open_clip: makes its own import of torchvision possible
from scoring.checkpoints import CheckpointRejected
from scoring.halves import encode_image, encode_text, for_scoring
from scoring.preprocessing import Preprocessing

import open_clip  # isort: skip
from open_clip.model import CLIP  # isort: skip
from open_clip.utils import to_2tuple  # isort: skip

Architecture = str | Mapping[str, Any]

Precision = Literal["float32", "bfloat16"]

Item = TypeVar("Item")

# Pictures to encode together, and batches that are decoded or wait for it while one is encoded.
BATCH, READ_AHEAD = 64, 2

# On a CPU none is decoded meanwhile: both would want the same cores, and each would drive out of their memory what the
# other needs.
BATCH_ON_CPU, READ_AHEAD_ON_CPU = 32, 1

# Threads that decode and resize; Pillow lets go of Python's lock while it does.
READERS = min(16, os.cpu_count() or 1)

# Prompts whose encoding a scorer keeps: 60 MB at most for ViT-L/14.
MAX_CACHED_TEXTS = 20_000

TOKENS = "token_embedding"

# The first layer of every CLIP with a vision transformer: what stands before its name stands before all names.
STEM = "visual.conv1.weight"

# Word pieces of CLIP's tokenizer, the one that is used here.
VOCABULARY = 49_408

# What OpenAI's and older files carry beside the weights.
NO_WEIGHTS = frozenset({"input_resolution", "context_length", "vocab_size", "attn_mask"})


class ArchitectureRejected(ValueError):
    """A model can't be used here; the message says what it lacks or has too much."""


class TagRejected(ValueError):
    """Weights that open_clip knows by a tag can't be brought in; the message says why."""


class Scorer(Protocol):
    """What every scorer can do. A number means something only beside those of other pictures of the same prompt."""

    kind: str
    manifest: dict[str, Any]

    def score(self, images: Sequence[Image.Image], prompt: str) -> NDArray[np.float64]:
        """One number per picture, (n,); higher is better."""

    def score_pairs(self, pairs: Iterable[tuple[Image.Image, str]], batch_size: int | None = None) -> Iterator[float]:
        """One number per picture with its prompt, in order, worked out batch by batch while the pairs are read."""


class ClipScorer:
    """A CLIP model with its preprocessing: 100 * cosine of picture and prompt.

    The range is -100..100; for ViT-L/14 about 15..30, pictures that people chose near 21.0, the others of the same
    prompts near 20.3. Only differences within one prompt mean something. Float32 on every device unless asked for
    otherwise: bfloat16 is several times as fast where the processor has it, and moves scores by up to .2, which can
    turn near-ties round.
    """

    def __init__(
        self,
        model: CLIP,
        preprocessing: Preprocessing,
        manifest: dict[str, Any],
        device: torch.device,
        precision: Precision = "float32",
    ) -> None:
        self.dtype: torch.dtype = getattr(torch, precision)
        self.model = for_scoring(model.to(device, self.dtype))
        self.preprocessing = preprocessing
        self.manifest = manifest
        self.kind = str(manifest["kind"])
        self.device = device
        self._tokenize = tokenizer(model)
        self._texts: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._mean, self._std = (
            torch.tensor(values, device=device).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
        )

    def score(self, images: Sequence[Image.Image], prompt: str) -> NDArray[np.float64]:
        """100 * cosine of each picture with the prompt.

        Args:
            images: Pillow images of any size and mode.
            prompt: text of any length; cut at the model's context length.

        Returns:
            (n,) float64, higher is better; compare within this prompt only.
        """
        return np.fromiter(self.score_pairs((image, prompt) for image in images), dtype=np.float64)

    def score_pairs(self, pairs: Iterable[tuple[Image.Image, str]], batch_size: int | None = None) -> Iterator[float]:
        """100 * cosine of each picture with its own prompt, in order; each distinct prompt is encoded once.

        Pictures are decoded and resized on several threads, on a GPU while the batch before is being scored, so a
        picture that is read from an open file must stay open until its score is there.
        """
        threads = ThreadPoolExecutor(READERS, thread_name_prefix="scorer")
        try:
            read = ((threads.submit(self.preprocessing.square, image), prompt) for image, prompt in pairs)
            batches = _batches(read, batch_size or batch_for(self.device))
            ahead = deque(islice(batches, READ_AHEAD_ON_CPU if self.device.type == "cpu" else READ_AHEAD))
            running: torch.Tensor | None = None
            while ahead:
                scores = self._score(ahead.popleft())
                ahead.extend(islice(batches, 1))
                # A GPU works on this batch while the numbers of the one before are handed out.
                if running is not None:
                    yield from running.tolist()
                running = scores
            if running is not None:
                yield from running.tolist()
        finally:
            threads.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _score(self, batch: Sequence[tuple[Future[NDArray[np.uint8]], str]]) -> torch.Tensor:
        """Scores of a batch, (n,) float64 on the device; a GPU may still be at work on them."""
        texts = self.encode_texts([prompt for _, prompt in batch])
        images = self.encode_squares(np.stack([square.result() for square, _ in batch]))
        return 100 * (images * texts).sum(dim=-1).double()

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Embeddings of length one, (n, embed_dim) float32."""
        return self.encode_squares(np.stack([self.preprocessing.square(image) for image in images]))

    @torch.inference_mode()
    def encode_squares(self, squares: NDArray[np.uint8]) -> torch.Tensor:
        """Embeddings of length one, (n, embed_dim) float32, of pixels that went through `preprocessing.square`."""
        return functional.normalize(self.embed_squares(squares), dim=-1)

    @torch.inference_mode()
    def embed_squares(self, squares: NDArray[np.uint8]) -> torch.Tensor:
        """As `encode_squares`, of the length that the model gives them."""
        bytes_of_pixels = torch.from_numpy(squares)
        if self.device.type == "cuda":
            bytes_of_pixels = bytes_of_pixels.pin_memory()
        # A quarter of the bytes of float32 go to the device; what `Preprocessing.normalise` does is done there.
        pixels = bytes_of_pixels.to(self.device, non_blocking=True).float().div_(255).sub_(self._mean).div_(self._std)
        return encode_image(self.model.visual, pixels.to(self.dtype)).float()

    @torch.inference_mode()
    def encode_texts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Embeddings of length one, (n, embed_dim) float32; prompts seen before come from memory."""
        unseen = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        if unseen:
            encoded = self._encode_unseen(self._tokenize(unseen).to(self.device)).float()
            # Copies, so that one kept row doesn't keep its whole batch.
            rows = (row.clone() for row in functional.normalize(encoded, dim=-1))
            self._texts.update(zip(unseen, rows, strict=True))
        for prompt in prompts:
            self._texts.move_to_end(prompt)
        texts = torch.stack([self._texts[prompt] for prompt in prompts])
        while len(self._texts) > MAX_CACHED_TEXTS:
            self._texts.popitem(last=False)  # the one not wanted for the longest time
        return texts

    def _encode_unseen(self, texts: torch.Tensor) -> torch.Tensor:
        """Embeddings of token ids, (n, embed_dim); on a CPU one text at a time.

        There a batch gains nothing in float32, and in bfloat16 takes ten times as long: with more than one text
        torch's attention turns them on their side, and its product of what doesn't lie in one piece with the weights
        copies these for every position (docs/benchmarks.md).
        """
        if self.device.type != "cpu":
            return encode_text(self.model, texts)
        return torch.cat([encode_text(self.model, text[None]) for text in texts])


def load_scorer(folder: Path | str, device: str | None = None, precision: Precision = "float32") -> Scorer:
    """The scorer in an artefact's folder, ready to score; load it once and keep it.

    Args:
        folder: of an artefact of kind `clip`, `hps` or `aesthetic`.
        device: such as `cpu` or `cuda:1`; by default CUDA where there is one.
        precision: of the arithmetic of `clip` and `hps`, see `ClipScorer`; an aesthetic score is always float32.

    Raises:
        CheckpointRejected: the folder is no whole artefact, or not a scorer's.
    """
    from scoring import aesthetic  # builds on this module

    kind = checkpoints.read_manifest(Path(folder)).get("kind")
    if kind == aesthetic.KIND:
        return aesthetic.load(Path(folder), device)
    return load_clip_scorer(Path(folder), device, precision)


def load_clip_scorer(folder: Path, device: str | None = None, precision: Precision = "float32") -> ClipScorer:
    """As `load_scorer`, for the kinds `clip` and `hps` alone, with access to the embeddings.

    Raises:
        CheckpointRejected: the folder is no whole artefact, or not one of these kinds.
    """
    model, preprocessing, manifest = load_clip(folder)
    return ClipScorer(model, preprocessing, manifest, pick_device(device), precision)


def load_clip(folder: Path) -> tuple[CLIP, Preprocessing, dict[str, Any]]:
    """The CLIP model of an artefact in float32 on the CPU, its preprocessing and its manifest.

    Raises:
        CheckpointRejected: the folder is no whole artefact of kind `clip` or `hps`, or its weights don't fit.
    """
    tensors, manifest = checkpoints.read(folder)
    if manifest.get("kind") not in ("clip", "hps"):
        raise CheckpointRejected(f"{folder}: kind {manifest.get('kind')!r}, needed is clip or hps.")
    model, preprocessing = build_from_manifest(folder, manifest)
    load_weights(folder, model, unpack_token_table(tensors, int(model.vocab_size)))
    return model, preprocessing, manifest


def build_from_manifest(folder: Path, manifest: Mapping[str, Any]) -> tuple[CLIP, Preprocessing]:
    """The model that a manifest describes, still with random weights, and its preprocessing.

    Raises:
        CheckpointRejected: the manifest lacks one of the two parts, or describes no model known here.
    """
    path = folder / checkpoints.MANIFEST
    try:
        preprocessing = Preprocessing.from_manifest(manifest["preprocessing"])
        model = build_clip(manifest["model"]["architecture"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointRejected(f"{path}: the model can't be built from it ({error!r}).") from error
    if (preprocessing.size, preprocessing.size) != image_size(model):
        raise CheckpointRejected(f"{path}: size {preprocessing.size}, the model needs {image_size(model)}.")
    return model, preprocessing


def build_clip(architecture: Architecture) -> CLIP:
    """A CLIP model with random weights (seed torch before), in float32 on the CPU.

    Args:
        architecture: a name that open_clip knows, or `{embed_dim, vision_cfg, text_cfg, quick_gelu}`. OpenAI's weights
            need `ViT-L-14-quickgelu`; with plain `ViT-L-14` they give other, worse scores without any error.

    Raises:
        ArchitectureRejected: open_clip doesn't know the name, the model is not of its class CLIP, or it reads prompts
            by another tokenizer than CLIP's own.
    """
    record = open_clip.get_model_config(architecture) if isinstance(architecture, str) else architecture
    if record is None:
        raise ArchitectureRejected(f"open_clip knows no model {architecture!r}.")
    if unknown := record.keys() - {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}:
        raise ArchitectureRejected(f"Only open_clip's class CLIP can be used; it has no {sorted(unknown)}.")
    _check_tokenizer(architecture if isinstance(architecture, str) else "This model", record["text_cfg"])
    return CLIP(**record)


def _check_tokenizer(name: str, text: Mapping[str, Any]) -> None:
    """That a text half was trained on the word pieces of CLIP's tokenizer; on others it gives scores without sense."""
    needed = "only CLIP's own can be used"
    if owner := text.get("hf_tokenizer_name") or text.get("hf_model_name"):
        raise ArchitectureRejected(f"{name} reads prompts by {owner}'s tokenizer; {needed}.")
    for key in ("tokenizer_kwargs", "tokenizer_mode"):
        if text.get(key):
            raise ArchitectureRejected(f"{name} reads prompts by a tokenizer with {key} {text[key]!r}; {needed}.")
    if (pieces := text.get("vocab_size", VOCABULARY)) != VOCABULARY:
        raise ArchitectureRejected(f"{name} knows {pieces:,} word pieces, CLIP's tokenizer {VOCABULARY:,}; {needed}.")


def image_size(model: CLIP) -> tuple[int, int]:
    """Height and width in pixels of what a model sees: transformers keep both, ResNets the one number."""
    height, width = to_2tuple(model.visual.image_size)
    return height, width


def preprocessing_for(architecture: Architecture) -> Preprocessing:
    """How a base model sees pictures: padded to the size that it was made for, by OpenAI's means and deviations.

    Raises:
        ArchitectureRejected: see `build_clip`.
    """
    with torch.device("meta"):
        size, _ = image_size(build_clip(architecture))
    return Preprocessing(size=size)


def load_weights(folder: Path, model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put weights of any number format into a model.

    Raises:
        CheckpointRejected: a weight is missing, unknown or of another shape.
    """
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointRejected(f"{folder / checkpoints.WEIGHTS}: doesn't fit the model ({reason}).") from error


def tokenizer(model: CLIP) -> open_clip.SimpleTokenizer:
    """CLIP's tokenizer, cutting at the model's context length: texts -> (n, context length) int64."""
    return open_clip.SimpleTokenizer(context_length=int(model.context_length))


def pack_token_table(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights with the table of word pieces stored as its non-zero rows, where at least half of the rows are zero.

    A toy model knows some thirty of CLIP's 49,408 word pieces; the rows of the others are zero and would be nine
    tenths of its file. Then `token_embedding.weight` becomes `token_embedding.rows`, (k, width), and
    `token_embedding.row_ids`, (k,) int32.
    """
    packed = dict(tensors)
    table = packed.get(f"{TOKENS}.weight")
    if table is None:
        return packed
    used = table.ne(0).any(dim=1).nonzero().squeeze(1)
    if len(used) * 2 <= len(table):
        del packed[f"{TOKENS}.weight"]
        packed[f"{TOKENS}.rows"] = table[used]
        packed[f"{TOKENS}.row_ids"] = used.to(torch.int32)
    return packed


def unpack_token_table(tensors: Mapping[str, torch.Tensor], vocabulary: int) -> dict[str, torch.Tensor]:
    """The weights with the whole table of word pieces, (vocabulary, width); undoes `pack_token_table`."""
    unpacked = dict(tensors)
    if f"{TOKENS}.rows" in unpacked:
        rows, row_ids = unpacked.pop(f"{TOKENS}.rows"), unpacked.pop(f"{TOKENS}.row_ids")
        table = rows.new_zeros(vocabulary, rows.shape[1])
        table[row_ids.long()] = rows
        unpacked[f"{TOKENS}.weight"] = table
    return unpacked


def import_clip_file(
    path: Path, folder: Path, *, architecture: Architecture, preprocessing: Preprocessing, kind: str, name: str
) -> dict[str, Any]:
    """Convert foreign CLIP weights (such as the paper's `hpc.pt`) into an artefact, once.

    Args:
        path: a .pt, .bin or .safetensors file with a state dict in open_clip's or OpenAI's naming, which are the same.
        folder: where the artefact shall stand.
        architecture: see `build_clip`.
        preprocessing: how this model shall see pictures.
        kind: `hps` or `clip`.
        name: for people.

    Returns:
        The manifest.

    Raises:
        CheckpointRejected: the file can't be read without running code, or doesn't fit the architecture.
    """
    tensors = clip_tensors(path)
    model = build_clip(architecture)
    load_weights(path, model, tensors)
    return checkpoints.write(
        folder,
        tensors,
        {
            "kind": kind,
            "name": name,
            "is_synthetic": False,
            "model": {"architecture": architecture},
            "preprocessing": preprocessing.to_manifest(),
            "scale": model.logit_scale.exp().item(),
            "converted_from": {"file": path.name, "sha256": checkpoints.file_sha256(path)},
        },
    )


def import_pretrained(architecture: str, tag: str, folder: Path) -> dict[str, Any]:
    """Fetch weights that open_clip knows by a tag, such as `laion2b_s32b_b79k` of `ViT-H-14`, into an artefact, once.

    The one function here that may use the network, unless the file is in the hub's own cache. Pictures are padded, as
    where CLIP is the base of a training, also for the tags whose own way is to crop the middle.

    Returns:
        The manifest.

    Raises:
        ArchitectureRejected: see `build_clip`.
        TagRejected: open_clip doesn't know the tag, they were trained with the other activation than the name says, or
            on pictures resized in a way that `Preprocessing` doesn't know.
        CheckpointRejected: the file can't be read without running code, or doesn't fit the architecture.
    """
    known = open_clip.get_pretrained_cfg(architecture, tag)
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise TagRejected(f"open_clip knows no weights {tag!r} of {architecture}; it has {tags}.")
    _check_tag(architecture, tag, known)
    preprocessing = preprocessing_for(architecture)  # before anything is fetched: says what can't be used
    fields: dict[str, Any] = {key: tuple(known[key]) for key in ("mean", "std") if known.get(key)}
    return import_clip_file(
        Path(open_clip.download_pretrained(known)),
        folder,
        architecture=architecture,
        preprocessing=replace(preprocessing, **fields),
        kind="clip",
        name=f"{architecture} {tag}",
    )


def _check_tag(architecture: str, tag: str, known: Mapping[str, Any]) -> None:
    if known.get("resize_mode") == "squash":
        raise TagRejected(f"{tag} was trained on pictures squashed into a square; here they are padded or cropped.")
    if known.get("interpolation", "bicubic") != "bicubic":
        raise TagRejected(
            f"{tag} was trained on pictures resized by a {known['interpolation']} filter; here it is bicubic."
        )
    has_quick_gelu = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False))
    if bool(known.get("quick_gelu", False)) != has_quick_gelu:
        other = architecture.removesuffix("-quickgelu") if has_quick_gelu else f"{architecture}-quickgelu"
        raise TagRejected(f"{tag} was trained with the activation of {other}; {architecture} would score worse.")


def clip_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Weights of a foreign file in open_clip's naming, whatever the model was an attribute of when it was saved.

    Raises:
        CheckpointRejected: the file can't be read without running code.
    """
    tensors = checkpoints.convert_torch_file(path)
    prefix = next((name.removesuffix(STEM) for name in tensors if name.endswith(STEM)), "")
    within = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in within.items() if name not in NO_WEIGHTS}


def batch_for(device: torch.device) -> int:
    """Pictures to encode together on such a device."""
    return BATCH_ON_CPU if device.type == "cpu" else BATCH


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
