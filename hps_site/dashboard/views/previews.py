"""The voting screen of a campaign, to be tried by staff: it behaves as for annotators, and nothing is counted.

What was answered is remembered in the session alone, so that an undo and a reload behave as they do in earnest. The
slots and votes that the serializers show here are never saved.
"""

import random
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotations.api import serializers
from annotations.api.errors import TellsErrors
from annotations.forms import VoteForm
from annotations.models import Campaign, Image, Slot, Task, Vote
from annotations.queries.voting import Progress, ShownClaim, shown_claims
from annotations.views.voting import NO_ID, voting_context
from worker.views.staff import staff_only

TASKS = 20
"""So many are shown; then it begins anew."""


class Rehearsal:
    """One person's way through the first tasks of a campaign."""

    def __init__(self, request: HttpRequest | Request, slug: str) -> None:
        self.session: Any = request.session
        self.campaign = get_object_or_404(Campaign, slug=slug)
        self.person = request.user.pk
        self._key = f"preview-{self.campaign.pk}"
        shown = self.campaign.tasks.filter(purpose=Task.Purpose.REGULAR).exclude(images__is_hidden=True)
        self.tasks = list(shown.select_related("prompt").order_by("public_id")[:TASKS])
        there = {str(task.public_id) for task in self.tasks}
        self.answered = [token for token in self.session.get(self._key, []) if token in there]

    @property
    def waiting(self) -> list[Task]:
        return [task for task in self.tasks if str(task.public_id) not in self.answered]

    @property
    def progress(self) -> Progress:
        return Progress(voted=len(self.answered), left=len(self.waiting))

    @property
    def last_vote(self) -> UUID | None:
        """A task's own id stands for its claim and for its vote."""
        return UUID(self.answered[-1]) if self.answered else None

    def claims(self, count: int, *, first: UUID | None = None) -> list[ShownClaim]:
        """What is shown next, as annotators are shown it."""
        waiting = sorted(self.waiting, key=lambda task: task.public_id != first)
        return shown_claims([self.slot(task) for task in waiting[:count]])

    def slot(self, task: Task) -> Slot:
        """A slot as if it were leased: for this person always in the same random order."""
        order = sorted(task.candidates.values_list("image", flat=True))
        random.Random(f"{self.person}-{task.pk}").shuffle(order)
        lease_until = timezone.now() + timedelta(seconds=self.campaign.lease_seconds)
        return Slot(
            pk=task.pk,
            campaign=self.campaign,
            task=task,
            number=0,
            token=task.public_id,
            order=order,
            state=Slot.State.LEASED,
            lease_until=lease_until,
        )

    def answer(self, token: UUID) -> Task:
        """Go on after a task, once."""
        task = next((task for task in self.tasks if task.public_id == token), None)
        if task is None:
            raise Http404
        if str(token) not in self.answered:
            self._remember([*self.answered, str(token)])
        return task

    def undo(self) -> None:
        self._remember(self.answered[:-1])

    def begin_anew(self) -> None:
        self._remember([])

    def _remember(self, answered: list[str]) -> None:
        self.answered = self.session[self._key] = answered


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The voting screen itself; it begins anew when all was seen. Without JavaScript, votes are posted here."""
    rehearsal = Rehearsal(request, slug)
    if request.method == "POST":
        form = VoteForm(request.POST)
        if form.is_valid():
            rehearsal.answer(form.cleaned_data["token"])
        return redirect("dashboard:preview", slug)
    if not rehearsal.tasks:
        messages.info(request, _("There is nothing to try yet: the campaign has no tasks with images."))
        return redirect("dashboard:campaign-page", slug)
    if not rehearsal.waiting:
        rehearsal.begin_anew()
    context = voting_context(
        campaign=rehearsal.campaign,
        claims=rehearsal.claims(1),
        progress=rehearsal.progress,
        last_vote=rehearsal.last_vote,
        # Votes that wait on this device are kept apart by person: real ones must never be sent to a preview.
        person=f"preview of {rehearsal.campaign.pk} by {rehearsal.person}",
        addresses=addresses(rehearsal.campaign),
    )
    return render(request, "dashboard/campaigns/preview.html", context)


@require_POST
@staff_only
def undo(request: HttpRequest, slug: str) -> HttpResponse:
    """One step back, without JavaScript."""
    Rehearsal(request, slug).undo()
    return redirect("dashboard:preview", slug)


class PreviewApi(TellsErrors, APIView):
    """What the voting screen asks for; it answers as the API does and stores nothing."""

    permission_classes = [IsAdminUser]


@extend_schema(exclude=True)
class Claims(PreviewApi):
    def post(self, request: Request, slug: str) -> Response:
        wanted = serializers.ClaimsWanted(data=request.data)
        wanted.is_valid(raise_exception=True)
        claims = Rehearsal(request, slug).claims(wanted.validated_data["count"])
        return Response(serializers.Claims({"claims": claims}).data)


@extend_schema(exclude=True)
class Votes(PreviewApi):
    def post(self, request: Request, slug: str) -> Response:
        given = serializers.VoteGiven(data=request.data)
        given.is_valid(raise_exception=True)
        said = given.validated_data
        rehearsal = Rehearsal(request, slug)
        task = rehearsal.answer(said["token"])
        vote = Vote(
            public_id=task.public_id,
            task=task,
            slot=rehearsal.slot(task),
            outcome=said["outcome"],
            image=Image.objects.filter(public_id=said["image"], tasks=task).first(),
            reason=said["reason"],
            order=[],
            shown_ms=said["shown_ms"],
            created_at=timezone.now(),
        )
        return Response(serializers.MyVote(vote).data, status=201)


@extend_schema(exclude=True)
class Undo(PreviewApi):
    def post(self, request: Request, slug: str, public_id: UUID) -> Response:
        rehearsal = Rehearsal(request, slug)
        if rehearsal.last_vote == public_id:
            rehearsal.undo()
        answer = {"claims": rehearsal.claims(1, first=public_id), **_progress(rehearsal)}
        return Response(serializers.ClaimsAfterUndo(answer).data)


@extend_schema(exclude=True)
class Heartbeat(PreviewApi):
    def post(self, _request: Request, slug: str) -> Response:
        return Response({"kept": 0})


@extend_schema(exclude=True)
class Release(PreviewApi):
    def post(self, _request: Request, slug: str) -> Response:
        return Response({"released": 0})


@extend_schema(exclude=True)
class MyProgress(PreviewApi):
    def get(self, request: Request, slug: str) -> Response:
        return Response(_progress(Rehearsal(request, slug)))


def _progress(rehearsal: Rehearsal) -> dict[str, Any]:
    progress = rehearsal.progress
    return {"voted": progress.voted, "left": progress.left, "last_vote": rehearsal.last_vote}


def addresses(campaign: Campaign) -> dict[str, str]:
    """Where the voting screen of a preview sends what it sends."""
    page = reverse("dashboard:campaign-page", args=[campaign.slug])
    screen = reverse("dashboard:preview", args=[campaign.slug])
    return {
        "claims": reverse("dashboard:preview-claims", args=[campaign.slug]),
        "heartbeat": reverse("dashboard:preview-heartbeat", args=[campaign.slug]),
        "release": reverse("dashboard:preview-release", args=[campaign.slug]),
        "progress": reverse("dashboard:preview-progress", args=[campaign.slug]),
        "votes": reverse("dashboard:preview-votes", args=[campaign.slug]),
        "undo": reverse("dashboard:preview-undo-vote", args=[campaign.slug, NO_ID]),
        "undo_page": reverse("dashboard:preview-undo", args=[campaign.slug]),
        "stop": page,
        "campaign": page,
        "done": page,
        "login": f"{reverse('login')}?next={screen}",
    }
