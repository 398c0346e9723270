"""What goes wrong, told to programs: `{"code", "detail"}` with a status that says whether to try again."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from annotations.services.voting import (
    AnnotatorExcluded,
    AnnotatorPaused,
    CampaignNotRunning,
    CapReached,
    ClaimLost,
    ConsentNeeded,
    InviteNeeded,
    KeyReused,
    PlaceGivenBack,
    UndoRefused,
    VoteRejected,
    VotingRefused,
)

RETRY_AFTER_SECONDS = 2

STATUS_OF: dict[type[VotingRefused], int] = {
    AnnotatorExcluded: status.HTTP_403_FORBIDDEN,
    AnnotatorPaused: status.HTTP_403_FORBIDDEN,
    InviteNeeded: status.HTTP_403_FORBIDDEN,
    CapReached: status.HTTP_403_FORBIDDEN,
    ConsentNeeded: status.HTTP_403_FORBIDDEN,
    PlaceGivenBack: status.HTTP_403_FORBIDDEN,
    CampaignNotRunning: status.HTTP_409_CONFLICT,
    ClaimLost: status.HTTP_409_CONFLICT,
    UndoRefused: status.HTTP_409_CONFLICT,
    KeyReused: status.HTTP_422_UNPROCESSABLE_ENTITY,
    VoteRejected: status.HTTP_400_BAD_REQUEST,
}


class TellsErrors:
    """A view of the API whose errors all have the same two fields."""

    def get_exception_handler(self) -> Any:
        return as_response


def as_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """The answer to an error, or None for what nobody foresaw."""
    if isinstance(error, VotingRefused):
        return _response(STATUS_OF[type(error)], code=error.code, detail=str(error))
    if isinstance(error, OperationalError | InterfaceError):
        answer = _response(
            status.HTTP_503_SERVICE_UNAVAILABLE,
            code="try_again",
            detail="The database does not answer. Send the same request again in a moment.",
        )
        answer["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return answer
    refusal = exception_handler(error, context)
    if refusal is not None:
        refusal.data = {"code": _code_of(error), "detail": _detail_of(error)}
    return refusal


def _response(status_code: int, *, code: str, detail: str) -> Response:
    return Response({"code": code, "detail": detail}, status=status_code)


def _code_of(error: Exception) -> str:
    match error:
        case ValidationError():
            return "invalid"
        case APIException():
            return str(error.get_codes())
        case PermissionDenied():
            return "permission_denied"
        case Http404():
            return "not_found"
    return "error"


def _detail_of(error: Exception) -> str:
    """One line; for a body that does not fit, each field with what is wrong with it."""
    match error:
        case ValidationError(detail=dict() as fields):
            return " ".join(f"{field}: {_joined(problems)}" for field, problems in fields.items())
        case ValidationError(detail=detail):
            return _joined(detail)
        case APIException():
            return str(error.detail)
        case PermissionDenied():
            return "You may not do this."
    return "There is nothing at this address."


def _joined(problems: Any) -> str:
    return " ".join(str(problem) for problem in problems) if isinstance(problems, list) else str(problems)
