"""Colour, depth and label images: read with checks that name the file and the cure; written as PNG and NPY."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageOps, UnidentifiedImageError

from blueprint.core.errors import InputError

COLOR_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
DEPTH_SUFFIXES = (".png", ".npy", ".tif", ".tiff")
MOST_PIXELS = 50_000_000
LEAST_SIDE = 32


def read_color(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB. Grey pictures are spread over the channels; 16-bit ones are refused."""
    with _open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{path} is a {image.mode} image, not a colour picture", "is this the depth image?")
        return np.asarray(_decode(path, image).convert("RGB"), dtype=np.uint8)


def read_photo(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, turned upright as the camera noted it (EXIF orientation)."""
    with _open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{path} is a {image.mode} image, not a photograph", "export it as 8-bit colour")
        return np.asarray(ImageOps.exif_transpose(_decode(path, image)).convert("RGB"), dtype=np.uint8)


def exif_focal(path: Path) -> float | None:
    """Focal length [px] that the camera wrote into the picture, or None.

    From the 35 mm equivalent (over the diagonal of 36 x 24 mm: CIPA DCG-001), else from the focal length and the
    sensor's resolution (Exif 2.3, 4.6.5). Good to a few per cent.
    """
    with _open(path) as image:
        try:
            tags = dict(image.getexif().get_ifd(0x8769))
        except (ValueError, KeyError, SyntaxError, OSError):
            return None
        width, height = image.size
    equivalent = _positive(tags.get(0xA405))
    if equivalent:
        return float(np.hypot(width, height) * equivalent / np.hypot(36, 24))
    focal_mm, per_unit = _positive(tags.get(0x920A)), _positive(tags.get(0xA20E))
    unit_mm = {2: 25.4, 3: 10.0, 4: 1.0}.get(tags.get(0xA210, 2))
    if not (focal_mm and per_unit and unit_mm):
        return None
    taken_at = _positive(tags.get(0xA002)) or width  # the picture may have been made smaller since
    return float(focal_mm * per_unit / unit_mm * max(width, height) / max(taken_at, _positive(tags.get(0xA003)) or 0))


def _positive(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if 0 < number < 1e6 else 0.0


def read_depth(path: Path) -> NDArray[np.generic]:
    """(H, W) in the file's own numbers: uint16, uint32 or float."""
    if path.suffix.lower() == ".npy":
        values = np.asarray(_open_npy(path))
    else:
        with _open(path) as image:
            values = np.asarray(_decode(path, image))
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2:
        raise InputError(
            f"{path} has {values.ndim} axes {values.shape}; a depth image has two (height, width)",
            "colour-coded depth cannot be measured; export the raw 16-bit or float depth",
        )
    if values.dtype == np.uint8:
        raise InputError(
            f"{path} holds 8-bit depth: at most 255 steps, too coarse to measure with",
            "export depth as 16-bit PNG (millimetres) or as a float .npy (metres)",
        )
    if values.dtype.kind not in "uif":
        raise InputError(f"{path} holds {values.dtype}, not numbers", "store depth as uint16 or float32")
    return values


def read_labels(path: Path) -> NDArray[np.uint16]:
    """(H, W) label per pixel, 0 = background."""
    with _open(path) as image:
        if image.mode not in ("L", "P", "I", "I;16", "I;16B", "1"):
            raise InputError(
                f"{path} is a {image.mode} picture; a mask holds one label number per pixel",
                "store masks as 8- or 16-bit single-channel PNG with 0 for the background",
            )
        values = np.asarray(_decode(path, image))
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"{path}: labels must lie between 0 and 65535")
    return values.astype(np.uint16)


def write_color(path: Path, color: NDArray[np.uint8]) -> None:
    """(H, W, 3) or (H, W, 4) 8-bit RGB(A) as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(np.ascontiguousarray(color)).save(path, optimize=False, compress_level=6)


def encode_jpeg(color: NDArray[np.uint8], quality: int = 95) -> bytes:
    """The same pixels give the same bytes. color: (H, W, 3) RGB."""
    import cv2

    return cv2.imencode(".jpg", color[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def write_labels(path: Path, labels: NDArray[np.integer]) -> None:
    """(H, W) labels as 16-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(np.ascontiguousarray(labels, dtype=np.uint16)).save(path, compress_level=6)


def write_depth(path: Path, depth: NDArray[np.floating]) -> None:
    """(H, W) [m] as float32 NPY."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(depth, dtype=np.float32), allow_pickle=False)


def _open(path: Path) -> PilImage.Image:
    if not path.is_file():
        raise InputError(f"{path} does not exist", "check the file's name and that the capture was copied whole")
    try:
        image = PilImage.open(path)
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image that can be read", "export it again as PNG") from error
    except PilImage.DecompressionBombError as error:
        raise InputError(f"{path} is absurdly large", "scale the pictures down") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is broken: {error}", "copy it again from the sensor's machine") from error
    check_size(path, *image.size)
    return image


def _decode(path: Path, image: PilImage.Image) -> PilImage.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path} is broken or cut short: {error}", "copy it again, or drop the frame from the capture"
        ) from error
    return image


def _open_npy(path: Path) -> NDArray[np.generic]:
    if not path.is_file():
        raise InputError(f"{path} does not exist", "check the file's name and that the capture was copied whole")
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a plain NPY array: {error}", "write it with numpy.save") from error
    if values.ndim < 2:
        raise InputError(f"{path} has shape {values.shape}; an image has (height, width)")
    check_size(path, values.shape[1], values.shape[0])
    return values


def check_size(path: Path, width: int, height: int) -> None:
    """Raises InputError for pictures too small to see an object in, or too large to hold."""
    if width * height > MOST_PIXELS:
        raise InputError(f"{path} has {width}x{height} pixels; at most {MOST_PIXELS} are read", "scale it down")
    if min(width, height) < LEAST_SIDE:
        raise InputError(f"{path} has only {width}x{height} pixels", f"each side needs at least {LEAST_SIDE}")
