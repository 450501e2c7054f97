"""Pictures of a report: small PNG files for images and heatmaps, inline SVG for curves and points.

Images and heatmaps are arrays already, so they are encoded as they are, a few pixels to the value. Curves and points
become SVG that takes its colours from the page, and so follows light and dark mode. Equal figures give
equal bytes.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from autograder.errors import UserError
from autograder.feedback import plots
from autograder.feedback.text import line
from autograder.report import Figure

Array = NDArray[np.float64]

LIMITS = {"images": 64, "heatmap": 1, "curve": 5000, "points": 5000}  # rows of a panel that are drawn
DIMS = {"images": 3, "heatmap": 2, "curve": 2, "points": 2}
SIDE = 512  # the largest height or width of an image or heatmap
PANELS = 8
VIRIDIS = np.array(  # nine equal steps of matplotlib's viridis
    [(68, 1, 84), (71, 44, 123), (58, 82, 139), (44, 114, 142), (32, 144, 140), (40, 174, 127),
     (94, 201, 97), (173, 220, 48), (253, 231, 36)], dtype=np.float64,
)  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One picture and what stands beneath it."""

    caption: str
    svg: Markup | None = None
    src: Markup | None = None  # a data: URL of a PNG
    width: int = 0  # in CSS pixels
    height: int = 0
    low: str | None = None  # ends of a heatmap's colour scale
    high: str | None = None


@dataclass(frozen=True)
class Picture:
    """A figure ready for the page: its panels, or the sentence that says why there are none."""

    title: str
    panels: tuple[Panel, ...] = ()
    legend: tuple[str, ...] = ()  # names of the curves of a plot, in the order of their colours
    refused: str | None = None


def panel_arrays(figure: Figure) -> dict[str, Array]:
    """The panels as finite float64 arrays of the shape their kind asks for.

    Raises:
        UserError: a panel cannot be drawn; the sentence names it and says why.
    """
    if not 1 <= len(figure.panels) <= PANELS:
        raise UserError(f"a figure has 1 to {PANELS} panels, this one has {len(figure.panels)}")
    arrays: dict[str, Array] = {}
    for name, values in figure.panels.items():
        called = f'the panel "{line(name, 60)}"'
        try:
            array = np.array(values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{called} does not hold numbers in rows of equal length") from None
        if array.ndim != DIMS[figure.kind] or array.size == 0:
            raise UserError(f"{called} has shape {array.shape}, which is not one of {figure.kind}")
        if not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise UserError(f"{bad} of the {array.size} numbers of {called} are not finite")
        if np.abs(array).max() > 1e30:
            raise UserError(f"{called} holds numbers beyond 1e30")
        if figure.kind in ("curve", "points") and array.shape[1] != 2:
            raise UserError(f"the rows of {called} hold {array.shape[1]} numbers, not x and y")
        if figure.kind in ("images", "heatmap") and max(array.shape[-2:]) > SIDE:
            raise UserError(f"{called} is larger than {SIDE} × {SIDE}")
        arrays[name] = array if figure.kind == "heatmap" else array[: LIMITS[figure.kind]]
    return arrays


def picture(figure: Figure) -> Picture:
    """The figure as panels of a page. Never raises: what cannot be drawn becomes a sentence."""
    title = line(figure.title)
    try:
        arrays = panel_arrays(figure)
    except UserError as error:
        return Picture(title, refused=f"This picture could not be drawn: {error}.")
    names = tuple(line(name, 80) for name in arrays)
    values = list(arrays.values())
    if figure.kind == "images":
        return Picture(title, tuple(_image_panel(name, array) for name, array in zip(names, values, strict=True)))
    if figure.kind == "heatmap":
        return Picture(title, tuple(_heat_panel(name, array) for name, array in zip(names, values, strict=True)))
    if figure.kind == "curve":
        return Picture(title, (Panel("", svg=plots.curves(values)),), legend=names)
    clouds = plots.clouds(values)
    return Picture(title, tuple(Panel(name, svg=cloud) for name, cloud in zip(names, clouds, strict=True)))


def mosaic(images: Array) -> NDArray[np.uint8]:
    """(N, H, W) in [0, 1] as one grey image, the images in a grid with a line of mid-grey between them."""
    n, h, w = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = max(1, 64 // max(h, w))
    gap = max(1, scale // 3)
    sheet = np.full((rows * (h * scale + gap) + gap, columns * (w * scale + gap) + gap), 136, dtype=np.uint8)
    grey = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    for i, image in enumerate(grey):
        top, left = gap + (i // columns) * (h * scale + gap), gap + (i % columns) * (w * scale + gap)
        sheet[top : top + h * scale, left : left + w * scale] = image.repeat(scale, 0).repeat(scale, 1)
    return sheet


def coloured(values: Array, low: float, high: float) -> NDArray[np.uint8]:
    """(H, W) as colours (H, W, 3), `low` dark and `high` bright."""
    place = (values - low) / ((high - low) or 1.0) * (len(VIRIDIS) - 1)
    steps = np.arange(len(VIRIDIS))
    return np.rint(np.stack([np.interp(place, steps, VIRIDIS[:, c]) for c in range(3)], axis=-1)).astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W) grey or (H, W, 3) colours as a PNG file."""
    height, width = pixels.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()  # filter 0 before every row
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def data_url(file: bytes) -> Markup:
    """A PNG file as an address that needs no request."""
    return Markup("data:image/png;base64," + base64.b64encode(file).decode("ascii"))


def _image_panel(name: str, images: Array) -> Panel:
    sheet = mosaic(images)
    height, width = sheet.shape
    shown = min(268, max(96, width))
    return Panel(name, src=data_url(png(sheet)), width=shown, height=round(shown * height / width))


def _heat_panel(name: str, values: Array) -> Panel:
    """A matrix in colours of its own scale: counts of paths beside zeros and ones would leave the latter black."""
    low, high = float(values.min()), float(values.max())
    height, width = values.shape
    scale = max(1, 240 // max(height, width))
    pixels = coloured(values, low, high).repeat(scale, 0).repeat(scale, 1)
    src = data_url(png(pixels))
    return Panel(name, src=src, width=width * scale, height=height * scale, low=f"{low:.3g}", high=f"{high:.3g}")
