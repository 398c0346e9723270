"""What of a JPEG, PNG or WebP file makes the picture, without metadata, comments and tails; no pixel is touched."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"

# A marker inside entropy-coded data: stuffed zeros and restart markers belong to the data.
JPEG_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
JPEG_SCANS = 64  # a progressive file has about ten; hundreds keep a decoder busy for minutes
PNG_CHUNKS = 20_000
PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
PNG_COMPRESSED = {b"zTXt", b"iTXt", b"iCCP"}
PNG_UNFOLDED_BYTES = 2 * 2**20
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
WEBP_KEPT = {b"VP8 ", b"VP8L", b"ALPH"}
WEBP_ALPHA_FLAG = 0x10


class ContainerRejected(Exception):
    """The file is no still JPEG, PNG or WebP picture; says why."""


@dataclass(frozen=True)
class Picture:
    """A file reduced to what makes its picture."""

    format: str
    """JPEG, PNG or WEBP, told from the first bytes, never from a name."""
    content: bytes
    """A whole file of that format; equal to the original where that held nothing else."""
    exif: bytes | None
    """The EXIF block that was taken out, for the orientation it may tell."""


def picture_of(content: bytes) -> Picture:
    """The picture in a file's bytes, by its format.

    Raises:
        ContainerRejected: another format, a broken or cut file, or an animation.
    """
    if not content:
        raise ContainerRejected("the file is empty")
    try:
        if content.startswith(JPEG_START):
            return picture_of_jpeg(content)
        if content.startswith(PNG_START):
            return picture_of_png(content)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return picture_of_webp(content)
    except (struct.error, IndexError) as error:
        raise ContainerRejected("the file is cut short") from error
    raise ContainerRejected("it is not a JPEG, PNG or WebP file")


def picture_of_jpeg(content: bytes) -> Picture:
    """Keeps tables, frames and scans; rewrites the JFIF and Adobe segments, which say how colours are coded."""
    kept, exif, scans = [content[:2]], None, 0
    has_jfif = False
    for marker, segment in jpeg_segments(content):
        body = segment[4:]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
        elif marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14 and not has_jfif:
            has_jfif = True
            kept.append(b"\xff\xe0\x00\x10" + body[:12] + b"\0\0")  # without its thumbnail
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            kept.append(b"\xff\xee\x00\x0e" + body[:12])
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(segment)
        scans += marker == 0xDA
        if scans > JPEG_SCANS:
            raise ContainerRejected(f"it has more than {JPEG_SCANS} scans")
    return Picture("JPEG", b"".join(kept), exif)


def jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment up to the end marker; a scan's segment holds its data."""
    position = 2
    while True:
        found = JPEG_MARKER.match(content, position)
        if found is None:
            raise ContainerRejected(
                "the file is cut short" if position >= len(content) - 1 else "its segments are broken"
            )
        marker = found[1][0]
        start = found.end() - 2
        if marker == 0xD9:
            yield marker, content[start : start + 2]
            return
        end = start + 2 + struct.unpack_from(">H", content, start + 2)[0]
        if marker == 0xDA:
            next_marker = JPEG_MARKER.search(content, end)
            if next_marker is None:
                raise ContainerRejected("the file is cut short")
            end = next_marker.start()
        if end > len(content):
            raise ContainerRejected("the file is cut short")
        yield marker, content[start:end]
        position = end


def picture_of_png(content: bytes) -> Picture:
    """Keeps header, palette, transparency and pixels."""
    kept, exif = [content[:8]], None
    position, chunks, budget = 8, 0, PNG_UNFOLDED_BYTES
    while True:
        length, name = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        chunks += 1
        if end > len(content):
            raise ContainerRejected("the file is cut short")
        if chunks > PNG_CHUNKS:
            raise ContainerRejected(f"it has more than {PNG_CHUNKS} chunks")
        if name == b"acTL":
            raise ContainerRejected("it is animated; only still pictures are taken")
        if name in PNG_COMPRESSED:
            budget -= unfolded_bytes(name, content[position + 8 : end - 4], budget)
        if name == b"eXIf":
            exif = content[position + 8 : end - 4]
        elif name in PNG_KEPT:
            kept.append(content[position:end])
        position = end
        if name == b"IEND":
            return Picture("PNG", b"".join(kept), exif)


def unfolded_bytes(name: bytes, body: bytes, budget: int) -> int:
    """The size of a compressed text or colour profile; it is dropped, but a file made to blow up is refused."""
    _keyword, _, rest = body.partition(b"\0")
    if name == b"iTXt":
        is_compressed, rest = rest[0], rest[1:]
        if not is_compressed:
            return 0
    method, data = rest[0], rest[1:]
    if name == b"iTXt":
        data = data.split(b"\0", 2)[-1]  # behind the language and the translated keyword
    if method != 0:
        raise ContainerRejected("a text or colour profile in it is packed in an unknown way")
    try:
        size = len(zlib.decompressobj().decompress(data, budget + 1))
    except zlib.error as error:
        raise ContainerRejected("a text or colour profile in it is damaged") from error
    if size > budget:
        raise ContainerRejected("the texts in it unfold to more than 2 MiB")
    return size


def png_pixels_are_exact(content: bytes) -> bool:
    """Whether a stripped PNG's compressed data ends with its pixels, with nothing hidden behind them.

    Inflates at most twice what the header announces, so call it only after the size was checked.
    """
    width, height, depth, colour = struct.unpack_from(">IIBB", content, 16)
    is_interlaced = content[28] != 0
    row_bytes = (width * depth * PNG_CHANNELS.get(colour, 4) + 7) // 8 + 1
    limit = row_bytes * height * (2 if is_interlaced else 1) + 64
    inflater = zlib.decompressobj()
    data = b"".join(png_data(content))
    pixels = inflater.decompress(data, limit)
    has_all = len(pixels) == row_bytes * height or is_interlaced
    return has_all and inflater.eof and not inflater.unused_data


def png_data(content: bytes) -> Iterator[bytes]:
    position = 8
    while position < len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        if name == b"IDAT":
            yield content[position + 8 : position + 8 + length]
        position += 12 + length


def picture_of_webp(content: bytes) -> Picture:
    """Keeps the picture and its transparency."""
    end_of_file = 8 + struct.unpack_from("<I", content, 4)[0]
    if end_of_file > len(content):
        raise ContainerRejected("the file is cut short")
    kept, exif = [], None
    position = 12
    while position + 8 <= end_of_file:
        name, length = struct.unpack_from("<4sI", content, position)
        end = position + 8 + length + length % 2
        if end > end_of_file:
            raise ContainerRejected("the file is cut short")
        body = content[position + 8 : position + 8 + length]
        if name == b"VP8X":
            kept.append(content[position : position + 8] + bytes([body[0] & WEBP_ALPHA_FLAG, 0, 0, 0]) + body[4:])
        elif name in (b"ANIM", b"ANMF"):
            raise ContainerRejected("it is animated; only still pictures are taken")
        elif name == b"EXIF":
            exif = body
        elif name in WEBP_KEPT:
            kept.append(content[position:end])
        position = end
    chunks = b"".join(kept)
    return Picture("WEBP", b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks, exif)
