"""What is compared: prompts, generators and the images made by one from the other."""

import hashlib
import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from scoring.near_duplicates import Sketch

# One prompt in five is kept for testing, chosen by its own hash or by the side of a near-duplicate that was there
# before: a prompt held out once is held out for every snapshot and every model version that will ever be trained.
TEST_SHARE = 0.2


def text_sha256(text: str) -> str:
    """SHA-256 of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def image_path(image: "Image", _filename: str) -> str:
    """Content-addressed, so that equal files are stored once and no name tells the generator."""
    return f"images/{image.sha256[:2]}/{image.sha256}.{image.extension}"


class Split(models.TextChoices):
    TRAIN = "train", _("train")
    TEST = "test", _("test")

    @classmethod
    def of(cls, text: str) -> "Split":
        """The side on which a prompt without near-duplicates falls, from its text alone."""
        share = int(text_sha256(text)[:8], 16) / 2**32
        return cls.TEST if share < TEST_SHARE else cls.TRAIN


class Prompt(models.Model):
    """The text that images were made from."""

    text = models.TextField(_("text"))
    text_hash = models.CharField(_("SHA-256 of the text"), max_length=64, unique=True, editable=False)
    tags = ArrayField(models.CharField(max_length=64), verbose_name=_("tags"), default=list, blank=True)
    source = models.CharField(_("source"), max_length=200, blank=True)
    split = models.CharField(_("split"), max_length=5, choices=Split, editable=False)
    sketch = ArrayField(models.BigIntegerField(), verbose_name=_("what near-duplicates share"), editable=False)
    # Set where a data set's own split, or a prompt between two others, would have a training see what is tested.
    is_near_test = models.BooleanField(_("near-duplicate of a test prompt"), default=False, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("prompt")
        verbose_name_plural = _("prompts")
        # Without a list of what is still to be indexed, which each of an import's many looks would read whole.
        indexes = [GinIndex(fields=["sketch"], name="prompt_sketch", fastupdate=False)]
        constraints = [
            models.CheckConstraint(
                condition=Q(is_near_test=False) | Q(split=Split.TRAIN), name="prompt_near_test_is_no_test_prompt"
            )
        ]

    def __str__(self) -> str:
        return self.text if len(self.text) <= 80 else f"{self.text[:79]}…"

    def save(self, *args: object, **kwargs: object) -> None:
        self.text_hash = text_sha256(self.text)
        self.split = self.split or Split.of(self.text)
        self.sketch = self.sketch or Sketch.of(self.text).keys
        super().save(*args, **kwargs)  # type: ignore[arg-type]


class Generator(models.Model):
    """A text-to-image model or adapter with its settings."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    description = models.TextField(_("description"), blank=True)
    settings = models.JSONField(_("settings"), default=dict, blank=True)
    is_synthetic = models.BooleanField(_("synthetic"), default=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("generator")
        verbose_name_plural = _("generators")

    def __str__(self) -> str:
        return self.name


class Image(models.Model):
    """One picture made for one prompt. Of a data set without images it has a name only, and is never shown."""

    EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}

    class Format(models.TextChoices):
        JPEG = "JPEG", "JPEG"
        PNG = "PNG", "PNG"
        WEBP = "WEBP", "WebP"

    class HiddenReason(models.TextChoices):
        """Why the machine hid an image; empty where a person did, or where it has no pixels."""

        BLANK = "blank", _("blank: of one colour")
        BROKEN = "broken", _("broken: no finite numbers, of another size, or damaged")
        UNSAFE = "unsafe", _("blocked by a safety checker")
        BLURRED = "blurred", _("blurred where it was made")

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    prompt = models.ForeignKey(Prompt, models.PROTECT, verbose_name=_("prompt"), related_name="images")
    generator = models.ForeignKey(
        Generator, models.PROTECT, verbose_name=_("generator"), related_name="images", null=True, blank=True
    )
    seed = models.BigIntegerField(_("seed"), null=True, blank=True)
    sha256 = models.CharField(_("SHA-256 of the file"), max_length=64, editable=False)
    file = models.FileField(_("file"), upload_to=image_path, max_length=200, blank=True)
    reference = models.CharField(_("name where its pixels are"), max_length=500, blank=True, editable=False)
    format = models.CharField(_("format"), max_length=4, choices=Format, blank=True)
    width = models.PositiveIntegerField(_("width in pixels"))
    height = models.PositiveIntegerField(_("height in pixels"))
    # None without pixels, and for images that were there before it was kept.
    brightness = models.FloatField(_("brightness, 0 to 1"), null=True, blank=True, editable=False)
    settings = models.JSONField(_("how it was made"), default=dict, blank=True)
    corrupted_from = models.ForeignKey(
        "self",
        models.PROTECT,
        verbose_name=_("corrupted copy of"),
        null=True,
        blank=True,
        related_name="copies",
    )
    is_hidden = models.BooleanField(_("hidden from annotators"), default=False)
    hidden_reason = models.CharField(
        _("why it is hidden"), max_length=7, choices=HiddenReason, blank=True, editable=False
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("image")
        verbose_name_plural = _("images")
        indexes = [
            models.Index(fields=["sha256"], name="image_sha256"),
            # Each claim asks which images are hidden.
            models.Index(fields=["id"], name="image_hidden", condition=Q(is_hidden=True)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "generator", "sha256"],
                name="image_once_per_prompt_and_generator",
                nulls_distinct=False,
            ),
            # Without its pixels an image can be judged, which happened elsewhere, and is never shown.
            models.CheckConstraint(
                condition=(Q(width__gt=0, height__gt=0) & ~Q(file="") & ~Q(format=""))
                | Q(file="", format="", width=0, height=0, is_hidden=True) & ~Q(reference=""),
                name="image_has_pixels_or_is_hidden",
            ),
            models.CheckConstraint(
                condition=Q(brightness__isnull=True) | Q(brightness__gte=0, brightness__lte=1) & ~Q(file=""),
                name="image_brightness_in_range",
            ),
            models.CheckConstraint(
                condition=Q(is_hidden=True) | Q(hidden_reason=""), name="image_hidden_reason_if_hidden"
            ),
        ]

    def __str__(self) -> str:
        return str(self.public_id)

    def get_absolute_url(self) -> str:
        return reverse("annotations:image", args=[self.public_id])

    @property
    def has_pixels(self) -> bool:
        return bool(self.file)

    @property
    def extension(self) -> str:
        return self.EXTENSIONS[self.format]
