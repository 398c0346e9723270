"""What annotators do by the API: claim, vote, undo, give back, see how far they are."""

from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from annotations.api import serializers
from annotations.api.errors import TellsErrors
from annotations.models import Annotator, Campaign, Vote
from annotations.queries import voting as queries
from annotations.services import voting
from annotations.services.people import annotator_for

IDEMPOTENCY_KEY = OpenApiParameter(
    name="Idempotency-Key",
    type=UUID,
    location=OpenApiParameter.HEADER,
    required=True,
    description="A UUID made for this one vote before it is first sent, and kept until it is answered with 2xx.",
)


class Claims(TellsErrors, APIView):
    @extend_schema(request=serializers.ClaimsWanted, responses=serializers.Claims)
    def post(self, request: Request, slug: str) -> Response:
        """Work to do, topped up to `count` claims; asking again gives the same work."""
        wanted = _checked(serializers.ClaimsWanted(data=request.data))
        slots = voting.claim_slots(
            annotator=annotator_for(request.user), campaign=_campaign(slug), count=wanted["count"]
        )
        return Response(serializers.Claims({"claims": queries.shown_claims(slots)}).data)


class GiveVote(TellsErrors, APIView):
    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=serializers.VoteGiven,
        responses={
            201: serializers.MyVote,
            200: OpenApiResponse(serializers.MyVote, description="This vote was stored before."),
            409: OpenApiResponse(description="The claim is no longer yours: go on with the next one."),
            422: OpenApiResponse(description="The key belongs to another vote."),
        },
    )
    def post(self, request: Request) -> Response:
        """Answer a claim. Stored once, however often it is sent with the same key."""
        key = _idempotency_key(request)
        given = _checked(serializers.VoteGiven(data=request.data))
        recorded = voting.record_vote(annotator=annotator_for(request.user), idempotency_key=key, **given)
        return Response(serializers.MyVote(recorded.vote).data, status=201 if recorded.is_new else 200)


class Undo(TellsErrors, APIView):
    @extend_schema(request=None, responses=serializers.ClaimsAfterUndo)
    def post(self, request: Request, public_id: UUID) -> Response:
        """Take one's latest vote back: its task comes again, first of the claims and in the same order.

        The progress is the one after it.
        """
        annotator = annotator_for(request.user)
        vote = get_object_or_404(Vote, public_id=public_id, annotator=annotator)
        slot = voting.undo_vote(annotator=annotator, vote=vote)
        others = [held for held in queries.live_slots(annotator, slot.campaign) if held != slot]
        claims = queries.shown_claims([slot, *others])
        return Response(serializers.ClaimsAfterUndo({"claims": claims, **_progress(annotator, slot.campaign)}).data)


class Heartbeat(TellsErrors, APIView):
    @extend_schema(request=None, responses=serializers.Kept)
    def post(self, request: Request, slug: str) -> Response:
        """Keep what was claimed for another full lease; send it at a third of the lease while somebody looks."""
        kept = voting.extend_claims(annotator=annotator_for(request.user), campaign=_campaign(slug))
        return Response({"kept": kept})


class Release(TellsErrors, APIView):
    @extend_schema(request=serializers.Leaving, responses=serializers.Released)
    def post(self, request: Request, slug: str) -> Response:
        """Give back what was claimed and not answered, at once or soon, so that others need not wait for it."""
        leaving = _checked(serializers.Leaving(data=request.data))
        give_back = voting.leave if leaving["soon"] else voting.release_claims
        released = give_back(annotator=annotator_for(request.user), campaign=_campaign(slug))
        return Response({"released": released})


class MyProgress(TellsErrors, APIView):
    @extend_schema(responses=serializers.MyProgress)
    def get(self, request: Request, slug: str) -> Response:
        """How many tasks one has answered and how many are left; `last_vote` is what an undo would take back."""
        campaign, annotator = _campaign(slug), queries.annotator_of(request.user)
        if not queries.may_enter(annotator, campaign):
            raise Http404
        return Response(_progress(annotator, campaign))


def _progress(annotator: Annotator | None, campaign: Campaign) -> dict[str, Any]:
    progress = queries.progress_of(annotator, campaign)
    last_vote = queries.latest_vote(annotator, campaign) if annotator else None
    return {"voted": progress.voted, "left": progress.left, "last_vote": last_vote and last_vote.public_id}


def _campaign(slug: str) -> Campaign:
    return get_object_or_404(Campaign, slug=slug)


def _checked(serializer: "Serializer[Any]") -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _idempotency_key(request: Request) -> UUID:
    try:
        return UUID(request.headers.get("Idempotency-Key", ""))
    except ValueError:
        raise ValidationError("Send the header Idempotency-Key with a UUID, a new one for each vote.") from None
