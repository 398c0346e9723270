"""The study from beginning to end: every step once, its result kept, so that whoever was killed goes on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

from django.conf import settings
from PIL import Image

from annotations.models import Prompt
from hps_site.demo import world
from hps_site.demo.study import judging, material, training
from hps_site.demo.study.declaration import (
    CONTROLS,
    DECLARED,
    ORIGINAL,
    WITHOUT_NEGATIVE,
    Arm,
    Declaration,
    Training,
)
from hps_site.demo.study.kept import HACKED, POSITIVE, Kept, Record, arm_record, hps_record, people_record
from hps_site.demo.study.material import Drawing
from worker.adapter.labelling import Label, LabelledImage, ScoredImage
from worker.models import ModelVersion
from worker.queries import version_by_name

KeyedPicture = tuple[str, str, Image.Image]
"""A key, the caption, the picture."""


class UnableToGoOn(ValueError):
    """What an earlier part of the study made is gone; the message says what to do."""


def labels_of(pairs: Iterable[tuple[Drawing, Drawing]]) -> list[LabelledImage]:
    """The labels of the positive control: of each pair the clean drawing is preferred, the defective one is not."""
    return [
        LabelledImage(drawing.key, drawing.caption, label, confidence=1.0, group_size=2)
        for pair in pairs
        for drawing, label in zip(pair, (Label.PREFERRED, Label.NON_PREFERRED), strict=True)
    ]


class Conductor:
    """Does what a declaration says, step by step."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.kept = Kept(Path(settings.HPS_SITE_HOME) / "study" / declaration.key)

    def run(self) -> None:
        """Everything that has not been done: the two parts of one step each, the declared arm, then its controls."""
        self.kept.make(POSITIVE, self._positive_control)
        self.kept.make(HACKED, self._hacked)
        for seed in self.declaration.seeds:
            self.kept.make(hps_record(seed), partial(self._hps, seed))
            self.kept.make(arm_record(DECLARED, seed), partial(self._arm, DECLARED, seed))
            self.kept.make(people_record(seed), partial(self._people, seed))
        for seed in self.declaration.seeds:
            for arm in CONTROLS:
                self.kept.make(arm_record(arm, seed), partial(self._arm, arm, seed))

    @cached_property
    def _judged(self) -> list[Prompt]:
        return judging.prompts_of(material.judged_captions(self.declaration))

    def _positive_control(self) -> Record:
        pairs = list(material.plain_pairs(self.declaration, seed=0))
        config = training.adapter_config(self.declaration, seed=0)
        version, measured = training.train(
            self.declaration,
            POSITIVE,
            config,
            training.examples_from(labels_of(pairs), config),
            material.pictures_of([drawing for pair in pairs for drawing in pair]),
        )
        clip = {"clip": training.clip_folder()}
        images = self._images(version, {DECLARED: config.mark, WITHOUT_NEGATIVE: ""}, clip)
        return {"captions": self._captions, "images": images, **measured}

    def _arm(self, arm: Arm, seed: int) -> Record:
        """One arm beside the original, on the same noise, by the truth, by the seed's HPS and by CLIP."""
        config = training.adapter_config(self.declaration, seed)
        scorers = {"clip": training.clip_folder()}
        negative_prompt = config.mark if arm.has_negative else ""
        if arm.training is None:
            return {"captions": self._captions, "images": self._images(None, {arm: negative_prompt}, scorers)}
        scores = self.kept.make(hps_record(seed), partial(self._hps, seed))["scores"]
        scorers["hps"] = training.hps_folder(self.declaration, hps_record(seed))
        pictures = self._labelled_pictures(seed)
        images = [ScoredImage(key, caption, scores[key]) for key, caption, _ in pictures]
        version, measured = training.train(
            self.declaration,
            arm_record(arm, seed),
            config,
            training.examples_of(arm.training, images, config),
            {key: picture for key, _, picture in pictures},
        )
        arms = {arm: negative_prompt} | ({WITHOUT_NEGATIVE: ""} if arm == DECLARED else {})
        return {
            "captions": self._captions,
            "version": str(version),
            "images": self._images(version, arms, scorers),
            **measured,
        }

    def _hps(self, seed: int) -> Record:
        """HPS of a seed: its figures on held-out votes, and its scores of everything that is labelled."""
        drawings = material.painters_drawings(self.declaration, seed)
        figures = self._train_hps(hps_record(seed), seed, drawings)
        folder = training.hps_folder(self.declaration, hps_record(seed))
        scored = training.scored(folder, self._labelled_pictures(seed))
        return {"figures": figures, "scores": {image.image: image.score for image in scored}}

    def _train_hps(self, name: str, seed: int, drawings: Sequence[Drawing]) -> Record:
        choices = material.votes_on(drawings, self.declaration, seed)
        return training.train_hps(self.declaration, name, seed, choices, material.pictures_of(drawings))

    def _people(self, seed: int) -> Record:
        kept = self.kept.make(arm_record(DECLARED, seed), partial(self._arm, DECLARED, seed))
        version = version_by_name(kept["version"])
        if version is None:
            raise UnableToGoOn(
                f"{kept['version']} of the study is gone from the site: remove {self.kept.folder} to begin anew."
            )
        return judging.ask_people(
            self.declaration, version, self._judged, name=f"seed-{seed}", panel_seed=world.SEED + 1000 + seed
        )

    def _hacked(self) -> Record:
        """HPS of a crowd that likes one colour, the adapter that it labels, and what others say of its images."""
        seed = 0
        drawings = material.coloured_drawings(self.declaration, seed)
        figures = self._train_hps("hacked-hps", seed, drawings)
        folder = training.hps_folder(self.declaration, "hacked-hps")
        pictures = self._of_training_captions(drawings)
        config = training.adapter_config(self.declaration, seed)
        examples = training.examples_of(Training.BY_HPS, training.scored(folder, pictures), config)
        version, measured = training.train(
            self.declaration, HACKED, config, examples, {key: picture for key, _, picture in pictures}
        )
        scorers = {"clip": training.clip_folder(), "hps": folder}
        people = judging.ask_people(self.declaration, version, self._judged, name=HACKED, panel_seed=world.SEED + 2000)
        images = self._images(version, {DECLARED: config.mark, WITHOUT_NEGATIVE: ""}, scorers)
        return {"captions": self._captions, "images": images, "people": people, "hps": figures, **measured}

    def _labelled_pictures(self, seed: int) -> list[KeyedPicture]:
        """All that HPS labels: the painters' drawings and the model's own images."""
        drawings = material.painters_drawings(self.declaration, seed)
        return [*self._of_training_captions(drawings), *self._own_pictures()]

    def _of_training_captions(self, drawings: Sequence[Drawing]) -> list[KeyedPicture]:
        known = set(material.training_captions(self.declaration))
        return [
            (drawing.key, drawing.caption, Image.fromarray(drawing.pixels))
            for drawing in drawings
            if drawing.caption in known
        ]

    def _own_pictures(self) -> Iterator[KeyedPicture]:
        captions = material.training_captions(self.declaration)[: self.declaration.own_prompts]
        original = judging.generator_of(self.declaration, None)
        images = judging.pictures_by(original, judging.prompts_of(captions), self.declaration.own_images)
        for index, pictures in enumerate(images):
            for caption, picture in zip(captions, pictures, strict=True):
                yield f"own {index}: {caption}", caption, picture

    def _images(
        self, version: ModelVersion | None, arms: Mapping[Arm, str], scorers: Mapping[str, Path]
    ) -> dict[str, Record]:
        """The original's images and those of the arms, which are given with their negative prompts, all judged."""
        judge = partial(judging.judge, prompts=self._judged, scorers=scorers)
        return {ORIGINAL.name: judge(judging.generator_of(self.declaration, None))} | {
            arm.name: judge(judging.generator_of(self.declaration, version, negative_prompt=negative_prompt))
            for arm, negative_prompt in arms.items()
        }

    @property
    def _captions(self) -> list[str]:
        return [prompt.text for prompt in self._judged]
