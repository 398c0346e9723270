"""Train an adapter on labelled images in a folder, on one GPU or on several; no site is needed.

    accelerate launch --num_processes 8 -m worker.adapter --data labelled --base stable-diffusion-v1-4 --out adapter

The same command again goes on where it was stopped. The result is in OUT/model; `import_adapter` brings it to a site.
"""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from tqdm import tqdm

from scoring import distributed
from scoring.distributed import UnableToJoin
from worker.adapter import released
from worker.adapter.config import PRESETS, AdapterConfig
from worker.adapter.data import make_examples
from worker.adapter.loop import StepReport, TrainingCancelled, train


def main() -> int:
    """Parse the command line, join the other processes, and train."""
    wanted = _arguments().parse_args()
    is_asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: is_asked_to_stop.set())
    try:
        processes = distributed.join(wanted.device)
        config = AdapterConfig.from_json(json.loads(wanted.config), preset=wanted.preset)
        labelled, others = released.read(wanted.data)
        result = train(
            config,
            make_examples(labelled, others, config),
            lambda key: released.open_picture(wanted.data, key),
            wanted.base,
            wanted.out,
            _Progress(),
            is_asked_to_stop.is_set,
            device=wanted.device,
            is_synthetic=wanted.synthetic,
            processes=processes,
        )
    except (OSError, ValueError, UnableToJoin, TrainingCancelled) as error:
        print(error, file=sys.stderr)
        return 1
    if processes.is_first:
        print(json.dumps({"folder": str(result.folder), "processes": processes.count, **result.metrics}))
    return 0


class _Progress:
    """A bar for each stage, with the loss; only the first process is told of steps."""

    def __init__(self) -> None:
        self.stage = ""

    def __call__(self, report: StepReport) -> None:
        if report.stage != self.stage:
            self.stage = report.stage
            self.bar = tqdm(desc=report.stage, total=report.total, file=sys.stderr)
        if report.loss is not None:
            self.bar.set_postfix(loss=f"{report.loss:.4f}", refresh=False)
        self.bar.update(report.step - self.bar.n)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "worker.adapter", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    needed = parser.add_argument_group("needed")
    needed.add_argument(
        "--data",
        type=Path,
        required=True,
        help=f"folder with {released.LABELLED}, perhaps {released.REGULARISATION}, and the images",
    )
    needed.add_argument("--base", type=Path, required=True, help="folder of the pipeline, in diffusers' layout")
    needed.add_argument("--out", type=Path, required=True, help="folder for the result and the checkpoints")
    parser.add_argument("--preset", choices=PRESETS, default="paper")
    parser.add_argument("--config", default="{}", metavar="JSON", help="settings that differ from the preset's")
    parser.add_argument("--device", help="such as cuda; by default the first GPU, or the one of this process")
    parser.add_argument("--synthetic", action="store_true", help="the images or their labels are; the result says so")
    return parser


if __name__ == "__main__":
    sys.exit(main())
