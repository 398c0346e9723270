"""Files that come in parts, for the page that sends them: what is there, one part more, away with it."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotations.models import Upload
from annotations.services import uploads as services
from annotations.services.uploads import PartDiffers, UploadRefused

MAX_BODY_BYTES = 4096

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def for_programs(view: View[P]) -> View[P]:
    """Tells what is refused as `{"code", "detail"}`: to strangers, to those without the right, and of bad parts."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return _refused(401, "not_authenticated", "You are logged out. Log in again; the upload goes on then.")
        if not (request.user.is_staff and request.user.has_perm("annotations.add_campaign")):
            return _refused(403, "permission_denied", "Your account may not make campaigns.")
        try:
            return view(request, *args, **kwargs)
        except PartDiffers as error:
            return _refused(409, "part_differs", str(error))
        except UnreadablePostError:
            return _refused(400, "cut_short", "The connection broke; send the part again.")
        except UploadRefused as error:
            return _refused(400, "refused", str(error))

    return guarded


@require_POST
@never_cache
@for_programs
def begin(request: HttpRequest) -> HttpResponse:
    """Begin the upload of `{"name", "size"}`, or find the one that was begun: 201 or 200, with the parts there."""
    wanted = _json_of(request)
    name, size = wanted.get("name"), wanted.get("size")
    if not isinstance(name, str) or not isinstance(size, int) or isinstance(size, bool):
        return _refused(400, "invalid", "Send the name of the file as text and its size in bytes as a number.")
    found = services.begin_upload(name=name, size=size, by=cast(User, request.user))
    there = services.parts_there(found)
    return JsonResponse(_shown(found, there), status=200 if there else 201)


@require_http_methods(["GET", "DELETE"])
@never_cache
@for_programs
def upload(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Which parts are there; or, by DELETE, forget all of them."""
    found = _own(request, public_id)
    if request.method == "DELETE":
        services.remove_upload(upload=found)
        return HttpResponse(status=204)
    return JsonResponse(_shown(found, services.parts_there(found)))


@require_http_methods(["PUT"])
@never_cache
@for_programs
def part(request: HttpRequest, public_id: UUID, number: int) -> HttpResponse:
    """One part: its bytes as the body, and their SHA-256 in the header X-Part-SHA256. Sent again, nothing changes."""
    found = _own(request, public_id)
    # Read as it comes and never by request.body, which has the limit of forms; one byte more tells of too many.
    content = request.read(found.part_size + 1)
    services.store_part(upload=found, number=number, content=content, sha256=request.headers.get("X-Part-SHA256", ""))
    return HttpResponse(status=204)


def _own(request: HttpRequest, public_id: UUID) -> Upload:
    return get_object_or_404(Upload, public_id=public_id, created_by=cast(User, request.user))


def _shown(found: Upload, parts: dict[int, str]) -> dict[str, Any]:
    return {
        "id": str(found.public_id),
        "address": reverse("dashboard:upload", args=[found.public_id]),
        "part_size": found.part_size,
        "part_count": found.part_count,
        "parts": parts,
    }


def _json_of(request: HttpRequest) -> dict[str, Any]:
    try:
        value = json.loads(request.read(MAX_BODY_BYTES))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _refused(status: int, code: str, detail: str) -> JsonResponse:
    return JsonResponse({"code": code, "detail": detail}, status=status)
