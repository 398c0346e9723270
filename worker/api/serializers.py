"""Runs and model versions as they go over the wire."""

from typing import Any

from rest_framework import serializers

from annotations.models import Campaign
from worker.models import ModelVersion, Run
from worker.services.adapting import UnableToTrainAdapter, check_adapter
from worker.services.generation_runs import wish_of
from worker.services.labelling import UnableToLabel, check_labelling
from worker.services.proof import ProofConfig, UnableToProve
from worker.services.recipes import FieldRejected
from worker.services.studies import StudyConfig, UnableToCreateStudy


class RunRecord(serializers.ModelSerializer[Run]):
    """A run as it stands."""

    id = serializers.UUIDField(source="public_id")
    campaign = serializers.SlugRelatedField[Campaign](slug_field="slug", read_only=True)
    snapshot = serializers.CharField(source="snapshot.sha256", default=None)
    version = serializers.CharField(default=None)
    requested_by = serializers.CharField(source="requested_by.username", default=None)

    class Meta:
        model = Run
        fields = [
            "id",
            "kind",
            "state",
            "preset",
            "config",
            "campaign",
            "snapshot",
            "version",
            "requested_by",
            "attempt",
            "max_attempts",
            "worker",
            "step",
            "total_steps",
            "stage",
            "metrics",
            "error_code",
            "error_text",
            "cancel_requested_at",
            "is_synthetic",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields


class RunWish(serializers.Serializer[Run]):
    """What shall be run.

    The `config` of a generation: `generator`, a name; `per_prompt`; `prompts` (texts, or objects with `prompt` and
    `tags`) or `tag` where no campaign is named; and for a new generator `pipeline`, `adapter`, `adapter_scale`,
    `negative_prompt`, `steps`, `guidance`, `scheduler`, `width`, `height` and `precision`. That of a proof: `version`,
    an adapter's name, and what differs from the defaults. That of a study: `slug`, `original`, and `version` or
    `adapted`, another generator's name. That of the other kinds has what differs from the preset.
    """

    kind = serializers.ChoiceField(Run.Kind.choices)
    preset = serializers.CharField(max_length=40, default="tiny")
    campaign = serializers.SlugRelatedField(
        queryset=Campaign.objects.all(), slug_field="slug", allow_null=True, default=None
    )
    config = serializers.DictField(default=dict)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            match attrs["kind"]:
                case Run.Kind.GENERATION:
                    wish_of(attrs["config"], attrs["campaign"])
                case Run.Kind.PROOF:
                    ProofConfig.from_json(attrs["config"])
                case Run.Kind.STUDY:
                    StudyConfig.from_json(attrs["config"])
                case Run.Kind.ADAPTER:
                    check_adapter(config=attrs["config"], preset=attrs["preset"], campaign=attrs["campaign"])
                    return attrs
                case Run.Kind.LABELLING:
                    check_labelling(config=attrs["config"], preset=attrs["preset"], campaign=attrs["campaign"])
                    return attrs
                case _:
                    return attrs
        except FieldRejected as error:
            raise serializers.ValidationError({error.field: error.reason}) from error
        except (UnableToProve, UnableToCreateStudy, UnableToTrainAdapter, UnableToLabel) as error:
            raise serializers.ValidationError({"config": str(error)}) from error
        return attrs | {"preset": ""}


class VersionRecord(serializers.ModelSerializer[ModelVersion]):
    """A model version with its manifest and figures."""

    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField(source="__str__")
    run = serializers.UUIDField(source="run.public_id", default=None)
    snapshot = serializers.CharField(source="snapshot.sha256", default=None)

    class Meta:
        model = ModelVersion
        fields = [
            "id",
            "name",
            "family",
            "number",
            "sha256",
            "manifest",
            "metrics",
            "run",
            "snapshot",
            "is_current",
            "is_synthetic",
            "created_at",
        ]
        read_only_fields = fields
