"""Pictures of the toy world as files, and back."""

import io

import numpy as np
from PIL import Image as Picture

from annotations.models import Image


def png_of(pixels: np.ndarray) -> bytes:
    """The PNG file of an image. pixels: (height, width, 3) uint8."""
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels_of(image: Image) -> np.ndarray:
    """The pixels of a stored image: (height, width, 3) uint8."""
    with image.file.open() as file, Picture.open(file, formats=list(Image.EXTENSIONS)) as picture:
        return np.asarray(picture.convert("RGB"))
