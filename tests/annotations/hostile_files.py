"""Files made to harm whoever opens them, each with the reason for which it must be refused."""

import io
import struct
import zlib

import PIL.Image

from tests.annotations.factories import picture_bytes

ANIMATED = "it is animated; only still pictures are taken"
CUT_SHORT = "the file is cut short"
DAMAGED = "it does not decode; the file is damaged"
OTHER_FORMAT = "it is not a JPEG, PNG or WebP file"


def encoded(form: str, *, size: tuple[int, int] = (24, 16), **options: object) -> bytes:
    """A small gradient in any format that Pillow writes."""
    buffer = io.BytesIO()
    PIL.Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, form, **options)
    return buffer.getvalue()


def animation(form: str) -> bytes:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*, width: int, height: int, depth: int = 8, colour: int = 2, pixels: bytes, extra: bytes = b"") -> bytes:
    """A PNG put together by hand, so that its parts may contradict each other."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


def hostile_files() -> dict[str, tuple[bytes, str]]:
    """Content and reason by a name that tells what is wrong."""
    good_png, good_jpeg, good_webp = picture_bytes(colour=(9, 9, 9)), encoded("JPEG"), encoded("WEBP")
    many_pixels = "pixels; at most 8,192 a side and 25,000,000 in all are taken"
    text_bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3 * 2**20)))
    return {
        "empty": (b"", "the file is empty"),
        "one byte": (b"\xff", OTHER_FORMAT),
        "text named as image": (b"<script>alert(1)</script>", OTHER_FORMAT),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', OTHER_FORMAT),
        "gif": (encoded("GIF"), OTHER_FORMAT),
        "bmp": (encoded("BMP"), OTHER_FORMAT),
        "tiff": (encoded("TIFF"), OTHER_FORMAT),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", OTHER_FORMAT),
        "html before a png": (b"<html>" + good_png, OTHER_FORMAT),
        "animated gif": (animation("GIF"), OTHER_FORMAT),
        "animated png": (animation("PNG"), ANIMATED),
        "animated webp": (animation("WEBP"), ANIMATED),
        "png signature only": (good_png[:8], CUT_SHORT),
        "png cut in its pixels": (good_png[: len(good_png) // 2], CUT_SHORT),
        "jpeg start only": (b"\xff\xd8\xff", CUT_SHORT),
        "jpeg cut in its scan": (good_jpeg[:-20], CUT_SHORT),
        "webp cut": (good_webp[:-10], CUT_SHORT),
        "webp header only": (b"RIFF\x04\x00\x00\x00WEBP", "its header is broken"),
        "png header damaged": (flipped(good_png, 17), "its header is broken"),
        "png pixels damaged": (flipped(good_png, good_png.index(b"IDAT") + 8), DAMAGED),
        "png without pixels": (png(width=9, height=9, pixels=b""), DAMAGED),
        "png bomb header": (png(width=50_000, height=50_000, depth=1, colour=0, pixels=b"\0"), "far too many pixels"),
        "png too many pixels": (png(width=8000, height=8000, pixels=b"\0"), many_pixels),
        "png very wide": (png(width=100_000, height=1, colour=0, pixels=b"\0"), many_pixels),
        "png no width": (png(width=0, height=9, pixels=b"\0"), "its header is broken"),
        "png text bomb": (png(width=1, height=1, pixels=zlib.compress(bytes(4)), extra=text_bomb), "unfold"),
        "jpeg many scans": (jpeg_of_many_scans(), "it has more than 64 scans"),
        "jpeg huge header": (jpeg_with_size(65_000, 65_000), "far too many pixels"),
        "too many bytes": (good_png + bytes(20 * 2**20), "bytes; at most 20,971,520 are taken"),
    }


def jpeg_of_many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated, which keeps a decoder busy for nothing."""
    content = encoded("JPEG", progressive=True)
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + 5000 * last_scan + content[-2:]


def jpeg_with_size(width: int, height: int) -> bytes:
    content = encoded("JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]
