"""The samplers that a generator can be told to use, by name; nothing here is slow to import."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scheduler:
    """A class of diffusers, and what of its settings differs from the pipeline's own."""

    class_name: str
    settings: dict[str, Any] = field(default_factory=dict)


SCHEDULERS = {
    "ddim": Scheduler("DDIMScheduler"),
    "ddpm": Scheduler("DDPMScheduler"),
    "pndm": Scheduler("PNDMScheduler", {"skip_prk_steps": True}),
    "lms": Scheduler("LMSDiscreteScheduler"),
    "euler": Scheduler("EulerDiscreteScheduler"),
    "euler-ancestral": Scheduler("EulerAncestralDiscreteScheduler"),
    "heun": Scheduler("HeunDiscreteScheduler"),
    "dpm++-2m": Scheduler("DPMSolverMultistepScheduler"),
    "dpm++-2m-karras": Scheduler("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": Scheduler("UniPCMultistepScheduler"),
}
"""`pndm` is the paper's. `ddpm`, `euler-ancestral`: noise is added at every step, from the image's own seed."""
