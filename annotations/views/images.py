"""The pictures themselves."""

from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from annotations.models import Image
from annotations.queries import voting as queries

CONTENT_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
ONE_YEAR = 365 * 24 * 60 * 60


@require_GET
def image(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One picture, for people who are logged in or have a token. What it is comes from our record of it."""
    image = get_object_or_404(_images_for(request), public_id=public_id)
    response = _content_of(image)
    response["Content-Disposition"] = f'inline; filename="{image.public_id}.{image.extension}"'
    response["Cache-Control"] = f"private, max-age={ONE_YEAR}, immutable"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _images_for(request: HttpRequest) -> QuerySet[Image]:
    """What may be seen; a visitor, who decides whether to take part, sees what the instructions show."""
    if request.user.is_staff:
        return Image.objects.exclude(file="")
    if request.user.is_authenticated or _has_token(request):
        return queries.visible_images()
    return queries.open_examples()


def _content_of(image: Image) -> HttpResponseBase:
    content_type = CONTENT_TYPES[image.format]
    if settings.MEDIA_ACCEL_PREFIX:
        response = HttpResponse(content_type=content_type)
        response["X-Accel-Redirect"] = f"{settings.MEDIA_ACCEL_PREFIX.rstrip('/')}/{image.file.name}"
        return response
    try:
        return FileResponse(image.file.open("rb"), content_type=content_type)
    except FileNotFoundError:
        raise Http404 from None


def _has_token(request: HttpRequest) -> bool:
    try:
        return TokenAuthentication().authenticate(request) is not None
    except AuthenticationFailed:
        return False
