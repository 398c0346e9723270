"""Votes to learn from and a tiny CLIP to learn with, both made in a moment."""

import random
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from annotations.models import Annotator, Campaign, Image, Outcome, Slot, Split, Task, Vote
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
)


def make_voted_campaign(
    *, train_prompts: int = 6, test_prompts: int = 4, people: int = 3, has_files: bool = False, **fields: Any
) -> Campaign:
    """A campaign in which everybody has chosen one of two images on every prompt: mostly the red one."""
    campaign = make_campaign(tasks=0, **fields)
    annotators = make_annotators(people)
    red, blue = make_generator(), make_generator()
    random_numbers = random.Random(0)
    for number in range(train_prompts + test_prompts):
        split = Split.TRAIN if number < train_prompts else Split.TEST
        prompt = make_prompt(f"{split} prompt {number} of {campaign.slug}", split=split)
        images = [
            make_image(prompt=prompt, generator=generator, has_file=has_files, **content)
            for generator, content in zip((red, blue), _pictures(has_files, number), strict=True)
        ]
        task = make_task(campaign=campaign, images=images, prompt=prompt, votes=0)
        for annotator in annotators:
            vote_on(task, annotator, image=images[random_numbers.random() < 0.2])
    return campaign


def vote_on(
    task: Task, annotator: Annotator, *, image: Image | None = None, outcome: str = Outcome.CHOICE, **fields: Any
) -> Vote:
    """A vote as it stands in the database after somebody was shown the images in their first order."""
    order = list(task.candidates.order_by("position").values_list("image_id", flat=True))
    if outcome == Outcome.CHOICE and image is None:
        image = Image.objects.get(pk=order[0])
    slot = Slot.objects.create(
        campaign=task.campaign,
        task=task,
        number=task.slots.count(),
        sort_key=0,
        state=Slot.State.DONE,
        annotator=annotator,
        order=order,
    )
    return Vote.objects.create(
        slot=slot,
        task=task,
        annotator=annotator,
        outcome=outcome,
        image=image if outcome == Outcome.CHOICE else None,
        order=order,
        idempotency_key=uuid.uuid4(),
        **fields,
    )


def write_tiny_clip(folder: Path) -> Path:
    """An artefact of kind `clip`: open_clip's class at the smallest size, with random weights."""
    import torch

    from scoring import checkpoints, hps
    from scoring.preprocessing import Preprocessing

    torch.manual_seed(0)
    architecture = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8},
        "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 2},
    }
    tensors = hps.build_clip(architecture).state_dict()
    manifest = {
        "kind": "clip",
        "name": "a tiny random CLIP",
        "is_synthetic": True,
        "model": {"architecture": architecture},
        "preprocessing": Preprocessing(size=16).to_manifest(),
    }
    checkpoints.write(folder, tensors, manifest)
    return folder


def _pictures(has_files: bool, number: int) -> Iterable[dict[str, bytes]]:
    from tests.annotations.factories import picture_bytes

    if not has_files:
        return {}, {}
    shade = number * 9 % 90
    return {"content": picture_bytes(colour=(250 - shade, shade, 0))}, {
        "content": picture_bytes(colour=(0, shade, 250 - shade))
    }
