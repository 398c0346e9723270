"""Runs and model versions as they go over the wire."""

from rest_framework import serializers

from annotations.models import Campaign
from worker.models import ModelVersion, Run


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
    """What shall be run."""

    kind = serializers.ChoiceField(Run.Kind.choices)
    preset = serializers.CharField(max_length=40, default="tiny")
    campaign = serializers.SlugRelatedField(
        queryset=Campaign.objects.all(), slug_field="slug", allow_null=True, default=None
    )


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
