"""What machines do, a module for each noun."""

from worker.models.labels import Label, Labelling, LabelQuerySet
from worker.models.runs import Run, RunEvent, RunQuerySet, RunSample, sample_path
from worker.models.studies import Study
from worker.models.versions import (
    ImageScore,
    ModelVersion,
    ModelVersionQuerySet,
    Promotion,
    Rejection,
    family_label,
)

__all__ = [
    "ImageScore",
    "Label",
    "LabelQuerySet",
    "Labelling",
    "ModelVersion",
    "ModelVersionQuerySet",
    "Promotion",
    "Rejection",
    "Run",
    "RunEvent",
    "RunQuerySet",
    "RunSample",
    "Study",
    "family_label",
    "sample_path",
]
