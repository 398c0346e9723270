"""What goes over the wire, for annotators and for staff."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from annotations.models import Generator, Image, Outcome, Prompt, Vote
from annotations.services.checks import feedback_on
from annotations.services.claims import MAX_LIVE_CLAIMS


class ClaimsWanted(serializers.Serializer[Any]):
    count = serializers.IntegerField(min_value=1, max_value=MAX_LIVE_CLAIMS, default=1)


class ClaimImage(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    url = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()


class Claim(serializers.Serializer[Any]):
    """Images stand in the order to show; nothing tells where they come from."""

    token = serializers.UUIDField()
    expires_at = serializers.DateTimeField()
    task = serializers.UUIDField()
    prompt = serializers.CharField()
    images = ClaimImage(many=True)
    outcomes = serializers.ListField(child=serializers.ChoiceField(Outcome.choices))
    is_practice = serializers.BooleanField(help_text="Not counted; the answer to the vote tells what was right.")


class Claims(serializers.Serializer[Any]):
    claims = Claim(many=True)


class Kept(serializers.Serializer[Any]):
    kept = serializers.IntegerField(help_text="Claims that now last a full lease again.")


class Released(serializers.Serializer[Any]):
    released = serializers.IntegerField()


class MyProgress(serializers.Serializer[Any]):
    voted = serializers.IntegerField()
    left = serializers.IntegerField()
    last_vote = serializers.UUIDField(allow_null=True)


class ClaimsAfterUndo(Claims, MyProgress):
    pass


class Leaving(serializers.Serializer[Any]):
    soon = serializers.BooleanField(default=False, help_text="Let the leases end in half a minute instead of at once.")


class ClientFacts(serializers.Serializer[Any]):
    """How a vote was given; all of it may be left out."""

    input = serializers.ChoiceField(["key", "pointer", "touch"], required=False)
    zoomed = serializers.BooleanField(required=False)
    flickered = serializers.BooleanField(required=False)
    viewport = serializers.ListField(child=serializers.IntegerField(), min_length=2, max_length=2, required=False)
    blurs = serializers.IntegerField(required=False)
    tie_after_ms = serializers.IntegerField(required=False)


@extend_schema_field(ClientFacts)
class ClientField(serializers.JSONField):
    """Checked where votes are: `annotations.services.answers`."""


class VoteGiven(serializers.Serializer[Any]):
    token = serializers.UUIDField()
    outcome = serializers.ChoiceField(Outcome.choices)
    image = serializers.UUIDField(allow_null=True, default=None)
    reason = serializers.CharField(allow_blank=True, max_length=200, default="")
    shown_ms = serializers.IntegerField(allow_null=True, min_value=0, default=None)
    hidden_ms = serializers.IntegerField(min_value=0, default=0)
    client = ClientField(allow_null=True, default=None)


class Feedback(serializers.Serializer[Any]):
    is_right = serializers.BooleanField()
    expected = serializers.UUIDField(help_text="The image that is the obvious answer.")


class MyVote(serializers.ModelSerializer[Vote]):
    """A vote as the person who gave it gets it back."""

    id = serializers.UUIDField(source="public_id")
    task = serializers.UUIDField(source="task.public_id")
    image = serializers.UUIDField(source="image.public_id", default=None)

    feedback = serializers.SerializerMethodField(help_text="For practice votes only.")

    class Meta:
        model = Vote
        fields = ["id", "task", "outcome", "image", "reason", "shown_ms", "created_at", "withdrawn_at", "feedback"]

    @extend_schema_field(Feedback(allow_null=True))
    def get_feedback(self, vote: Vote) -> dict[str, Any] | None:
        feedback = feedback_on(vote)
        return None if feedback is None else dict(Feedback(feedback).data)


class StaffVote(MyVote):
    campaign = serializers.CharField(source="slot.campaign.slug")
    prompt = serializers.CharField(source="task.prompt.text")
    purpose = serializers.CharField(source="task.purpose")
    annotator = serializers.UUIDField(source="annotator.public_id")
    order = serializers.SerializerMethodField(help_text="Ids of the images in the order shown.")

    class Meta(MyVote.Meta):
        fields = [
            *("id", "campaign", "task", "purpose", "prompt", "annotator", "outcome", "image", "reason", "order"),
            *("shown_ms", "hidden_ms", "client", "is_too_fast", "instructions_version"),
            *("served_at", "created_at", "withdrawn_at"),
        ]

    def get_order(self, vote: Vote) -> list[str]:
        public_ids = self.context["public_ids"]
        return [str(public_ids[image_id]) for image_id in vote.order if image_id in public_ids]


class StaffPrompt(serializers.ModelSerializer[Prompt]):
    class Meta:
        model = Prompt
        fields = ["id", "text", "tags", "source", "split", "created_at"]


class StaffGenerator(serializers.ModelSerializer[Generator]):
    class Meta:
        model = Generator
        fields = ["id", "name", "description", "settings", "is_synthetic", "created_at"]


class StaffImage(serializers.ModelSerializer[Image]):
    id = serializers.UUIDField(source="public_id")
    url = serializers.CharField(source="get_absolute_url")
    prompt = StaffPrompt()
    generator = serializers.CharField(source="generator.name", default=None)

    class Meta:
        model = Image
        fields = [
            *("id", "url", "prompt", "generator", "seed", "settings", "sha256", "format", "width", "height"),
            *("is_hidden", "hidden_reason", "created_at"),
        ]
