"""Adapter training with kept latents and embeddings, side by side with a plain loop that encodes in every step.

make bench-adapter [BENCH="--device cuda --cases stable-diffusion --batch 8 --steps 20"]

Ours is the public `worker.adapter.loop.train`. The plain loop does what diffusers' example
`train_text_to_image_lora.py` does in a step: open and crop the images, encode them and their captions, add noise,
predict it, backward, clip, AdamW; both have the same model, layers, images, batch and number format. Weights and
pictures are random, but for `tiny`, the toy world's model. `quarter` is Stable Diffusion 1.4 with a quarter of its
channels at 256 pixels: it fits a CPU and keeps the proportions of its parts. Each way runs in a process of its own, so
that its memory is its own.
"""

import contextlib
import multiprocessing
import resource
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.common import Clock, Machine, jpeg_files, opened, operations, parser, prepare
from scoring import backend
from worker.adapter.config import PAPER, AdapterConfig
from worker.adapter.data import Example, ExampleSet, Kind, batch_at
from worker.adapter.encoding import training_square
from worker.adapter.loop import StepReport, TrainingCancelled, train
from worker.generation.pipeline import load_pipeline

PASSES = (1.5, 5, 10, 30)
"""How often each image is seen; the paper: 10,000 steps of 40 images from 258,911, about one and a half times."""

TINY_SIDE = 32
SIZES: dict[str, dict[str, Any]] = {
    "quarter": {"width": 80, "vae_width": 32, "text_width": 192, "side": 256, "groups": 16},
    "stable-diffusion": {"width": 320, "vae_width": 128, "text_width": 768, "side": 512, "groups": 32},
}


@dataclass(frozen=True)
class Case:
    """What both ways get."""

    base: Path
    config: AdapterConfig
    files: list[bytes]
    steps: int
    device: str
    threads: int

    @property
    def examples(self) -> ExampleSet:
        kinds = (Kind.PREFERRED, Kind.NON_PREFERRED)
        examples = (
            Example(str(number), f"a picture of scene number {number}", kinds[number % 2])
            for number in range(len(self.files))
        )
        return ExampleSet(tuple(examples), ())


@dataclass
class Measured:
    """What one way took."""

    step_seconds: list[float] = field(default_factory=list)
    caching_seconds: float = 0.0
    """For all images and captions, once."""
    peak_megabytes: float = 0.0
    operations: float = 0.0
    """Floating-point operations of a step; counted on a GPU alone."""


def main() -> None:
    options = parser(__doc__)
    options.set_defaults(side=None)  # files as large as the model's images
    options.add_argument("--cases", nargs="+", default=["tiny", "quarter"], choices=["tiny", *SIZES])
    options.add_argument("--batch", type=int, default=4, help="images in a step, at once")
    options.add_argument("--steps", type=int, default=6, help="timed in each round, after one that warms up")
    wanted = options.parse_args()
    machine = prepare(wanted)
    for name in wanted.cases:
        own_side = TINY_SIDE if name == "tiny" else SIZES[name]["side"]
        files = jpeg_files((wanted.steps + 1) * wanted.batch, wanted.side or own_side)
        with tempfile.TemporaryDirectory() as folder:
            base = tiny(Path(folder)) if name == "tiny" else random_pipeline(Path(folder) / "base", **SIZES[name])
            settings = {"batch_size": wanted.batch, "batch_pieces": 1, "resolution": None, "sample_every": 0}
            config = AdapterConfig.from_json(PAPER.to_json() | settings | {"checkpoint_every": 10**9})
            case = Case(base, config, files, wanted.steps, wanted.device, wanted.threads)
            compare(name, case, wanted.rounds, machine)


def compare(name: str, case: Case, rounds: int, machine: Machine) -> None:
    """Take the same steps in each way, in turn, and print how long they took."""
    ways = {"ours, latents and embeddings kept": ours, "plain, encoding in every step": plain}
    rows: dict[str, list[Measured]] = {way: [] for way in ways}
    for _round in range(rounds):
        for way, work in ways.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                rows[way].append(process.submit(work, case).result())
    size = case.config.batch_size
    print(f"\n{name}: {size} images a step, LoRA of rank {case.config.rank}, {case.steps} steps x {rounds} rounds")
    seconds = {
        way: statistics.median([each for row in found for each in row.step_seconds]) for way, found in rows.items()
    }
    for way, taken in seconds.items():
        peak, work = (max(getattr(row, what) for row in rows[way]) for what in ("peak_megabytes", "operations"))
        share = machine.share(work / taken) if work else ""
        print(f"  {way:<36}{1 / taken:>8.3f} steps/s{size / taken:>9.2f} images/s{peak:>8.0f} MB at most{share}")
    caching = statistics.median([row.caching_seconds for row in next(iter(rows.values()))])
    per_step = caching * size / len(case.files)
    print(f"  caching took {caching:.2f} s for {len(case.files)} images, {per_step:.3f} s for those of a step, once")
    kept, encoding = seconds.values()
    print("  times as many steps per second as the plain loop, the caching counted, each image seen so often:")
    for passes in (*PASSES, None):
        cost = kept + (per_step / passes if passes else 0)
        print(f"    {passes or 'the limit':>9}: {encoding / cost:.2f}")


def ours(case: Case) -> Measured:
    """Our own training, until the steps are done."""
    clock, found = _started(case), Measured()
    marks: dict[str, float] = {}
    ticks: list[float] = []

    def open_image(key: str) -> Any:
        marks.setdefault("first image", clock.now())
        return opened(case.files[int(key)])

    def note(report: StepReport) -> None:
        if report.stage == "training":
            ticks.append(clock.now())
        else:
            marks["encoded"] = clock.now()

    # What would follow the steps is the measuring and the saving of the weights.
    with tempfile.TemporaryDirectory() as out, contextlib.suppress(TrainingCancelled):
        train(
            case.config,
            case.examples,
            open_image,
            case.base,
            Path(out),
            note,
            lambda: len(ticks) > case.steps,
            device=case.device,
        )
    found.step_seconds = list(np.diff(ticks))
    found.caching_seconds = marks["encoded"] - marks["first image"]
    found.peak_megabytes = _peak(case)
    if case.device != "cpu":
        found.operations = _operations(case, encodes=False)
    return found


def plain(case: Case) -> Measured:
    """A loop that encodes images and captions in every step."""
    clock, found = _started(case), Measured()
    ticks = list(_plain_steps(case, clock))
    found.step_seconds = list(np.diff(ticks))
    found.peak_megabytes = _peak(case)
    if case.device != "cpu":
        found.operations = _operations(case, encodes=True)
    return found


def _plain_steps(case: Case, clock: Clock) -> Iterator[float]:
    """The end of every step, the first one being the warm-up."""
    from diffusers import DDPMScheduler

    pipeline = _pipeline_with_layers(case)
    unet, config, device = pipeline.unet, case.config, torch.device(case.device)
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, config.learning_rate, config.betas, config.epsilon, config.weight_decay, fused=device.type == "cuda"
    )
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    examples, rng = case.examples.training, np.random.default_rng(0)
    for step in range(case.steps + 1):
        batch = [examples[place] for place in batch_at(step, len(examples), config)]
        latents, text = _encoded(pipeline, case, [int(example.image) for example in batch], rng)
        noise = torch.randn_like(latents)
        times = torch.randint(scheduler.config.num_train_timesteps, (len(batch),), device=device)
        noisy = scheduler.add_noise(latents, noise, times)
        is_velocity = scheduler.config.prediction_type == "v_prediction"
        target = scheduler.get_velocity(latents, noise, times) if is_velocity else noise
        with torch.autocast(device.type, unet.dtype, enabled=unet.dtype != torch.float32):
            predicted = unet(noisy, times, text).sample
        loss = functional.mse_loss(predicted.float(), target.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.largest_gradient_norm)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        yield clock.now()


def _encoded(
    pipeline: Any, case: Case, numbers: Sequence[int], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    squares = [training_square(opened(case.files[number]), side, rng) for number in numbers]
    captions = [case.examples.training[number].caption(case.config.mark) for number in numbers]
    ids = pipeline.tokenizer(
        captions,
        padding="max_length",
        max_length=pipeline.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack(squares)).to(case.device, pipeline.unet.dtype)
        latents = pipeline.vae.encode(pixels).latent_dist.sample() * pipeline.vae.config.scaling_factor
        return latents, pipeline.text_encoder(ids.to(case.device))[0]


def _pipeline_with_layers(case: Case) -> Any:
    from peft import LoraConfig

    device = torch.device(case.device)
    pipeline = load_pipeline(case.base, device)
    pipeline.to(backend.pick_dtype(device))
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.requires_grad_(False).eval()
    rank, layers = case.config.rank, list(case.config.layers)
    pipeline.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=layers))
    for parameter in pipeline.unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return pipeline


def _operations(case: Case, *, encodes: bool) -> float:
    """Floating-point operations of a step, counted on one image."""
    pipeline = _pipeline_with_layers(case)
    latents, text = _encoded(pipeline, case, [0], np.random.default_rng(0))

    def step() -> None:
        if encodes:
            _encoded(pipeline, case, [0], np.random.default_rng(0))
        with torch.autocast(pipeline.device.type, pipeline.unet.dtype):
            pipeline.unet(latents, 0, text).sample.float().sum().backward()

    return operations(step) * case.config.batch_size


def _started(case: Case) -> Clock:
    """In the new process: its threads, and its clock."""
    if case.device == "cpu":
        torch.set_num_threads(case.threads)
    return Clock(torch.device(case.device))


def _peak(case: Case) -> float:
    """Most megabytes that were in use: of the card's memory, or of this process."""
    if case.device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def tiny(folder: Path) -> Path:
    """The toy world's model."""
    from hps_site.demo.base_models import unpack

    unpack(folder)
    return folder / "tiny-diffusion"


def random_pipeline(folder: Path, *, width: int, vae_width: int, text_width: int, side: int, groups: int) -> Path:
    """A pipeline of Stable Diffusion 1.4's shape with random weights; times do not depend on them."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from hps_site.demo.toy_diffusion import tokenizer

    torch.manual_seed(0)
    words = tokenizer()
    words.model_max_length = 77
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=text_width,
        intermediate_size=4 * text_width,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=77,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(vae_width, 2 * vae_width, 4 * vae_width, 4 * vae_width),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=groups,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=words,
        unet=UNet2DConditionModel(
            sample_size=side // 8,
            block_out_channels=(width, 2 * width, 4 * width, 4 * width),
            cross_attention_dim=text_width,
            norm_num_groups=groups,
        ),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
