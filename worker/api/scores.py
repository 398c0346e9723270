"""Scores by the API: images and a prompt go in, numbers come out; the work is a worker's."""

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotations.api.errors import TellsErrors
from annotations.services.images import ImageRejected, read_image
from worker.services.score_requests import NoAnswer, ScoreRequest, ScoresRefused, request_scores

MAX_IMAGES = 64
MAX_FILES = 16
MAX_FILES_BYTES = 20 * 2**20


class ScoresWanted(serializers.Serializer[Any]):
    """Ids of stored images, or files (as multipart/form-data), or both."""

    prompt = serializers.CharField(max_length=10_000)
    images = serializers.ListField(child=serializers.UUIDField(), max_length=MAX_IMAGES, default=list)
    files = serializers.ListField(child=serializers.FileField(), max_length=MAX_FILES, default=list)
    scorer = serializers.CharField(default="hps", help_text="clip, hps or aesthetic; hps-3 for a certain version")

    def validate(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if not wanted["images"] and not wanted["files"]:
            raise ValidationError("Give the ids of images, or files.")
        if sum(file.size for file in wanted["files"]) > MAX_FILES_BYTES:
            raise ValidationError(f"The files have more than {MAX_FILES_BYTES:,} bytes together; send fewer at once.")
        return wanted


class ScoredImage(serializers.Serializer[Any]):
    image = serializers.CharField(help_text="the image's id, or the file's name")
    score = serializers.FloatField(help_text="compare only with other images of the same prompt")


class Scores(serializers.Serializer[Any]):
    scores = ScoredImage(many=True)


class WorkersAreAway(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "no_worker"
    default_detail = "No worker answered in time. Start one that listens on the queue 'default', then send this again."


class ScoreImages(TellsErrors, APIView):
    permission_classes = [IsAdminUser]
    parser_classes = [JSONParser, MultiPartParser, FormParser]

    @extend_schema(
        request=ScoresWanted,
        responses={
            200: Scores,
            400: OpenApiResponse(description="An image or the scorer is not there, or a file is no image."),
            503: OpenApiResponse(description="No worker answered in time."),
        },
    )
    def post(self, request: Request) -> Response:
        """Scores of images for one prompt, stored images first, each in the order given."""
        wanted = ScoresWanted(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        try:
            scores = request_scores(
                request=ScoreRequest(
                    prompt=asked["prompt"],
                    scorer=asked["scorer"],
                    public_ids=tuple(str(public_id) for public_id in asked["images"]),
                    files=tuple(_checked(file) for file in asked["files"]),
                )
            )
        except ScoresRefused as error:
            raise ValidationError(str(error)) from error
        except NoAnswer as error:
            raise WorkersAreAway from error
        return Response({"scores": scores})


def _checked(file: "UploadedFile[bytes]") -> tuple[str, bytes]:
    """Name and clean bytes of an upload."""
    name = file.name or "file"
    try:
        return name, read_image(file.read()).bytes
    except ImageRejected as error:
        raise ValidationError(f"{name} is no image that can be scored: {error.reason}.") from error
