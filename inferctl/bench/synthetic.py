"""Made-up inputs that cost what real ones do: JPEGs with detail, sentences of many lengths."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

PICTURES = 16
WIDTH, HEIGHT = 320, 240
NOISE = 12

SENTENCES = (
    "Wonderful.",
    "Not worth the price.",
    "The cast is superb and the ending stayed with me for days.",
    "I waited three weeks, and then the parcel arrived empty.",
    "Does what it says, nothing more and nothing less.",
    "A slow first half; after that I could not look away.",
    "The manual is twelve pages of tiny print, and page seven is missing.",
    "My grandmother learned to use it in an afternoon, which says everything.",
    "Broke on day two. Support answered on day thirty.",
    "Quiet, warm, honest and beautifully shot.",
    "It is fine.",
    "Two of the four screws do not fit, yet somehow the shelf stands.",
    "I would buy this again without thinking, and I have, for both of my sisters.",
    "The sound drops out whenever the lift in our building moves, and nobody can tell me why.",
    "Clever dialogue cannot save a plot that forgets its own beginning.",
    "Fast delivery, careful packing, friendly note inside. Five stars.",
    "The battery lasts eleven hours when I read and barely three when I work.",
    "No.",
    "Having seen the original on stage I expected little; what I got was a film that trusts its "
    "audience, gives its minor characters room to breathe, and ends exactly where it should.",
    "Our team tried it for a month. The first week was all praise. By the fourth we were back to "
    "the old tool, because every export took ten minutes and half of them failed without a word.",
    "The colours are lovely, although in daylight the red looks closer to orange.",
    "An hour of my life that I should like to have back.",
    "Staff were kind, the room was clean, breakfast was a disappointment.",
    "I laughed, I cried, I missed my train.",
    "Too salty for me, but the children asked for seconds.",
    "It replaced three gadgets on my desk and is quieter than any one of them was. The app needs "
    "work: it forgets the network after each update and asks for the password in a font that "
    "nobody over forty can read. Still, for the money, I know of nothing better on sale today.",
)


@cache
def pictures(width: int = WIDTH, height: int = HEIGHT) -> tuple[bytes, ...]:
    """PICTURES JPEGs of so many pixels, the same ones every time."""
    random = np.random.default_rng(0)
    return tuple(_picture(random, width, height) for _ in range(PICTURES))


def texts(words: int) -> tuple[str, ...]:
    """As many texts as there are SENTENCES, of their words, each with so many of them."""
    vocabulary = " ".join(SENTENCES).split()
    random = np.random.default_rng(0)
    return tuple(" ".join(random.choice(vocabulary, words)) for _ in SENTENCES)


def _picture(random: np.random.Generator, wide: int, high: int) -> bytes:
    image = Image.new("RGB", (wide, high), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(3, 9))):
        x, y = (int(random.integers(0, limit)) for limit in (wide, high))
        width, height = (int(side) for side in random.integers(20, 120, 2))
        shape = draw.ellipse if random.integers(2) else draw.rectangle
        shape((x, y, x + width, y + height), fill=_colour(random))
    # Without noise a JPEG of flat shapes is a tenth of a photograph's size and decodes too fast.
    noise = random.normal(0, NOISE, (high, wide, 3))
    noisy = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _colour(random: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = random.integers(0, 256, 3)
    return int(red), int(green), int(blue)
