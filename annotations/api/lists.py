"""What was collected, for staff: votes, images, prompts and generators, newest first."""

from collections.abc import Sequence
from typing import Any

import django_filters
from django.db.models import QuerySet
from rest_framework.generics import ListAPIView
from rest_framework.permissions import BasePermission, IsAdminUser, IsAuthenticated

from annotations.api import serializers
from annotations.api.errors import TellsErrors
from annotations.api.views import GiveVote
from annotations.models import Annotator, Generator, Image, Prompt, Task, Vote
from annotations.queries import voting as queries


class VoteFilter(django_filters.FilterSet):
    campaign = django_filters.CharFilter(field_name="slot__campaign__slug")
    task = django_filters.UUIDFilter(field_name="task__public_id")
    annotator = django_filters.UUIDFilter(field_name="annotator__public_id")
    source = django_filters.ChoiceFilter(field_name="annotator__source", choices=Annotator.Source.choices)
    purpose = django_filters.ChoiceFilter(field_name="task__purpose", choices=Task.Purpose.choices)
    created = django_filters.IsoDateTimeFromToRangeFilter(field_name="created_at")
    is_withdrawn = django_filters.BooleanFilter(field_name="withdrawn_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = Vote
        fields = ["outcome", "is_too_fast"]


class ImageFilter(django_filters.FilterSet):
    campaign = django_filters.CharFilter(field_name="tasks__campaign__slug", distinct=True)
    generator = django_filters.CharFilter(field_name="generator__name")
    prompt = django_filters.NumberFilter(field_name="prompt_id")

    class Meta:
        model = Image
        fields = ["sha256", "format", "is_hidden", "hidden_reason"]


class PromptFilter(django_filters.FilterSet):
    text = django_filters.CharFilter(lookup_expr="icontains")
    tag = django_filters.CharFilter(method="with_tag")

    class Meta:
        model = Prompt
        fields = ["split", "source"]

    def with_tag(self, prompts: QuerySet[Prompt], _name: str, tag: str) -> QuerySet[Prompt]:
        return prompts.filter(tags__contains=[tag])


class GeneratorFilter(django_filters.FilterSet):
    class Meta:
        model = Generator
        fields = ["name", "is_synthetic"]


class Votes(GiveVote, ListAPIView[Vote]):
    """One address: staff read all votes here, annotators send theirs."""

    serializer_class = serializers.StaffVote
    filterset_class = VoteFilter
    queryset = queries.votes_listed()

    def get_permissions(self) -> list[BasePermission]:
        return [IsAuthenticated() if self.request.method == "POST" else IsAdminUser()]

    def get_serializer(self, votes: Sequence[Vote] = (), *args: Any, **kwargs: Any) -> Any:
        """With the public ids of all images that were shown, asked for once per page; the schema asks with no votes."""
        shown = {image_id for vote in votes for image_id in vote.order}
        public_ids = dict(Image.objects.filter(pk__in=shown).values_list("pk", "public_id"))
        kwargs["context"] = {**self.get_serializer_context(), "public_ids": public_ids}
        return self.serializer_class(votes, *args, **kwargs)


class Images(TellsErrors, ListAPIView[Image]):
    permission_classes = [IsAdminUser]
    serializer_class = serializers.StaffImage
    filterset_class = ImageFilter
    queryset = Image.objects.select_related("prompt", "generator")


class Prompts(TellsErrors, ListAPIView[Prompt]):
    permission_classes = [IsAdminUser]
    serializer_class = serializers.StaffPrompt
    filterset_class = PromptFilter
    queryset = Prompt.objects.all()


class Generators(TellsErrors, ListAPIView[Generator]):
    permission_classes = [IsAdminUser]
    serializer_class = serializers.StaffGenerator
    filterset_class = GeneratorFilter
    queryset = Generator.objects.all()
