"""Makes torchvision importable on CPU builds of torch (so import this first), and picks the device."""

import importlib.util
import os
from pathlib import Path

import torch

# A library object that is collected takes its operators with it, so it is kept here.
_declared: list[torch.library.Library] = []


def _compiled_operators_load() -> bool:
    """Whether torchvision's own compiled operators can be loaded into this build of torch."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to repair: importing torchvision gives its own clear error
    for compiled in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            continue
        return True
    return False


def make_torchvision_importable() -> None:
    """Declare the two operator schemas that `import torchvision` needs, where its compiled file doesn't load.

    torchvision's wheel is compiled against the CUDA build of torch. On a CPU build its compiled operators can't
    be loaded; that alone would do no harm, but the import then registers shapes for `torchvision::nms` and
    `torchvision::qnms` and fails with "operator torchvision::nms does not exist". Nothing here ever calls the two,
    so their schemas without an implementation are enough.
    """
    if _declared or _compiled_operators_load():
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)
    _declared.append(library)


make_torchvision_importable()


def pick_device(wanted: str | None = None) -> torch.device:
    """The device asked for, or the first CUDA device where there is one, or the CPU."""
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def pick_dtype(device: torch.device) -> torch.dtype:
    """The number format for training's matrix products: bfloat16 on GPUs that have it, else float32.

    Scores are always computed in float32: bfloat16 moves 100 * cos by up to .2 and can turn near-ties round.
    """
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def make_deterministic(seed: int) -> None:
    """Seed torch on every device and ask for repeatable kernels: same seed, data and machine, same result."""
    # cuBLAS reads it when its first handle is made; without it repeatable matrix products are refused.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads memory before it is written; filling it first costs small models a quarter of their speed.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)
