"""Request bodies, seeded: photo-like JPEGs, sentences of mixed length, rows of four numbers."""

from __future__ import annotations

import base64
import io
import random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Body = dict[str, Any]

SEED = 17
CALIBRATION_SEED = 71
PHOTO_SIZE = (640, 480)
MIN_WORDS, MAX_WORDS = 5, 60

VOCABULARY = """
the a this our their my with without before after because although and but or if when while delivery
parcel hotel kitchen waiter phone screen speaker laptop jacket train ticket garden museum doctor
teacher plumber bicycle novel concert app update invoice warranty mattress arrived broke worked
smelled looked sounded felt cost lasted helped ignored repaired cancelled perfect awful dull bright
friendly rude cheap expensive sturdy fragile slow quick noisy quiet never always hardly really quite
extremely somewhat twice today yesterday again not very we they it she he i you was is were had
would could should in on at from to for of than as
"""
WORDS = VOCABULARY.split()


def vision_bodies(count: int = 64, seed: int = SEED) -> list[Body]:
    """Base64 JPEGs."""
    return [{"image_b64": base64.b64encode(jpeg).decode()} for jpeg in photos(count, seed)]


def text_bodies(count: int = 256, seed: int = SEED) -> list[Body]:
    """Texts of 5 to 60 words."""
    rng = random.Random(seed)
    lengths = [rng.randint(MIN_WORDS, MAX_WORDS) for _ in range(count)]
    return [{"text": " ".join(rng.choices(WORDS, k=length))} for length in lengths]


def tensor_bodies(count: int = 256, seed: int = SEED) -> list[Body]:
    """Rows of four numbers."""
    rows = np.random.default_rng(seed).normal(size=(count, 4)).round(4)
    return [{"inputs": row} for row in rows.tolist()]


def photos(count: int, seed: int) -> list[bytes]:
    """JPEGs of 640x480 that compress like photos, 70 to 100 KB each."""
    rng = np.random.default_rng(seed)
    return [_photo(rng) for _ in range(count)]


def _photo(rng: np.random.Generator) -> bytes:
    """A coloured gradient, things with edges before it, a little blur, a sensor's noise."""
    image = Image.fromarray(_light(rng))
    _draw_things(ImageDraw.Draw(image), rng)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(1.2)), np.float32)
    grain = rng.normal(0, rng.uniform(7, 10), (*soft.shape[:2], 1))
    noisy = soft + grain + rng.normal(0, 3, soft.shape)
    stream = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _light(rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    width, height = PHOTO_SIZE
    down, across = np.ogrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = []
    for _ in range(3):
        tilt_x, tilt_y, phase = rng.uniform(-6, 6), rng.uniform(-6, 6), rng.uniform(0, 2 * np.pi)
        channels.append(rng.uniform(70, 180) + 70 * np.cos(tilt_x * across + tilt_y * down + phase))
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def _draw_things(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(10, 35))):
        left, top = float(rng.uniform(-60, 600)), float(rng.uniform(-60, 440))
        box = (left, top, left + float(rng.uniform(15, 220)), top + float(rng.uniform(15, 160)))
        colour = tuple(rng.integers(0, 256, 3).tolist())
        if rng.random() < 0.5:
            draw.ellipse(box, fill=colour)
        else:
            draw.rounded_rectangle(box, 8, fill=colour)
