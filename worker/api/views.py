"""Runs and model versions for programs of staff."""

from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView, RetrieveAPIView, get_object_or_404
from rest_framework.permissions import BasePermission, IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotations.api.errors import TellsErrors
from worker import queries
from worker.api import serializers
from worker.models import ModelVersion, Run
from worker.services import runs
from worker.services.runs import UnableToCancelRun, UnableToOpenRun, UnknownPreset


class MayChangeRuns(BasePermission):
    """Staff read; who opens or cancels needs the permission for it."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        wanted = "worker.change_run" if isinstance(view, CancelRun) else "worker.add_run"
        return request.method != "POST" or request.user.has_perm(wanted)


class Runs(TellsErrors, ListAPIView[Run]):
    """All runs, the newest first; a POST opens one."""

    permission_classes = [IsAdminUser & MayChangeRuns]
    serializer_class = serializers.RunRecord
    filterset_fields = ["kind", "state", "is_synthetic"]
    queryset = queries.runs_by_age().select_related("snapshot")

    @extend_schema(
        request=serializers.RunWish,
        responses={201: serializers.RunRecord, 200: serializers.RunRecord},
        description="Opens a run: 201. Where one of the kind is active already: 200, with that one.",
    )
    def post(self, request: Request) -> Response:
        """Open a run, or give back the active one of its kind."""
        wish = serializers.RunWish(data=request.data)
        wish.is_valid(raise_exception=True)
        try:
            opened = runs.open_run(**wish.validated_data, by=_person(request))
        except UnknownPreset as error:
            return _refused(status.HTTP_400_BAD_REQUEST, "unknown_preset", error)
        except UnableToOpenRun as error:
            return _refused(status.HTTP_409_CONFLICT, "try_again", error)
        return Response(
            serializers.RunRecord(opened.run).data,
            status=status.HTTP_201_CREATED if opened.is_new else status.HTTP_200_OK,
        )


class OneRun(TellsErrors, RetrieveAPIView[Run]):
    """One run as it stands."""

    permission_classes = [IsAdminUser]
    serializer_class = serializers.RunRecord
    lookup_field = "public_id"
    queryset = queries.runs_by_age().select_related("snapshot")


class CancelRun(TellsErrors, APIView):
    """Ask a run to stop."""

    permission_classes = [IsAdminUser & MayChangeRuns]

    @extend_schema(request=None, responses=serializers.RunRecord)
    def post(self, request: Request, public_id: UUID) -> Response:
        """The run after asking: cancelled at once where it waited, else it stops after its current step."""
        run = get_object_or_404(queries.runs_by_age(), public_id=public_id)
        try:
            run = runs.request_cancel(run=run, by=_person(request))
        except UnableToCancelRun as error:
            return _refused(status.HTTP_409_CONFLICT, "run_has_ended", error)
        return Response(serializers.RunRecord(run).data)


class Versions(TellsErrors, ListAPIView[ModelVersion]):
    """All model versions, the newest first."""

    permission_classes = [IsAdminUser]
    serializer_class = serializers.VersionRecord
    filterset_fields = ["family", "is_current", "is_synthetic"]
    queryset = queries.versions_by_age()


def _person(request: Request) -> User:
    assert isinstance(request.user, User)  # IsAdminUser lets nobody else in
    return request.user


def _refused(status_code: int, code: str, error: Exception) -> Response:
    answer: dict[str, Any] = {"code": code, "detail": str(error)}
    return Response(answer, status=status_code)
