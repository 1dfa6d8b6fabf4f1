"""Inputs that are as large as they may be, beside each other and beside small ones."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inferctl.bundles.manifest import Buckets, ImageInput, TextInput
from inferctl.cores import available_cores
from inferctl.tasks.decode import MAX_SCANS_OF_MOST_PIXELS, decode_image
from tests.client.bundles import MOODS, READER, WORDS, write_bundle
from tests.e2e.service import Service
from tests.faults.accounting import MIB, WORKER
from tests.faults.bad import ANIMALS, MOOD
from tests.faults.conftest import Say
from tests.faults.pictures import START_OF_SCAN, coloured, encoded
from tests.tasks.tinybundles import SPECIALS, reader

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

LARGEST_SIDE = 5000
LARGEST_BYTES = 100 * MIB
HUFFMAN_TABLES = b"\xff\xc4"
TOKENS = 512
COUNTERS = ("tokens_total", "padding_tokens_total")
WARM_UP, ROUNDS = 5, 60
SPARE_MS = 20
SHORT, LONG = "good", " ".join(["good"] * 600)


def smooth(**options: object) -> bytes:
    """A JPEG of as many pixels as are allowed."""
    grey = Image.linear_gradient("L").resize((LARGEST_SIDE, LARGEST_SIDE))
    colours = Image.merge("RGB", (grey, grey.rotate(90), grey.rotate(180)))
    return encoded(colours, "JPEG", quality=85, **options)


@pytest.mark.row(69)
@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_decoders_hold_one_image_each(
    tiny_models: Path, tmp_path: Path, say: Say, decode: str
) -> None:
    with Service(
        [str(tiny_models), "--port", "0", "--workers", "2", "--set", f"runtime.decode={decode}",
         "--set", "server.request_timeout_ms=60000"],
        tmp_path,
    ) as service:  # fmt: skip
        slots = 2 * (max(1, available_cores() // 2) + 1)
        small, large = coloured("red", "JPEG"), smooth()
        with ThreadPoolExecutor(16) as clients:
            assert set(clients.map(lambda _: status(service, small), range(16))) == {200}
            before = peak_bytes(service)
            answers = list(clients.map(lambda _: status(service, large), range(16)))
        grown = peak_bytes(service) - before
    say(f"{decode}: {slots} decoders, {grown / MIB:.0f} MiB, {answers.count(200)} of 16 answered")
    assert set(answers) <= {200, 429}
    assert answers.count(200) >= slots
    # The bodies wait meanwhile, and are in pieces before they are whole.
    assert grown <= slots * LARGEST_BYTES + 2 * 16 * len(large)


def status(service: Service, image: bytes) -> int:
    return service.request(ANIMALS, image, {"Content-Type": "image/jpeg"}).status


def peak_bytes(service: Service) -> int:
    """The most memory that the workers ever had."""
    statuses = (Path(f"/proc/{pid}/status").read_text() for pid in service.pids(WORKER))
    return sum(int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) * 1024 for text in statuses)


@pytest.mark.row(65, 70)
def test_the_worst_image_that_is_decoded_takes_less_than_two_seconds(say: Say) -> None:
    """Nothing ends a decoder but its own end: what is let in is all that bounds it.

    Four colours without loss of detail, and the scan that all of them share, as often as may be.
    """
    inks = Image.new("CMYK", (LARGEST_SIDE, LARGEST_SIDE), (128, 128, 128, 128))
    jpeg = encoded(inks, "JPEG", progressive=True, subsampling=0)
    first = jpeg.index(START_OF_SCAN)
    end = jpeg.index(HUFFMAN_TABLES, first)
    count = MAX_SCANS_OF_MOST_PIXELS - jpeg.count(START_OF_SCAN)
    worst = jpeg[:first] + jpeg[first:end] * (1 + count) + jpeg[end:]
    begun_s = time.thread_time()
    decode_image(worst, ImageInput(height=224, width=224), LARGEST_SIDE**2, "exact")
    took_s = time.thread_time() - begun_s
    say(f"{len(worst) / MIB:.1f} MiB of 25 Mpx in {MAX_SCANS_OF_MOST_PIXELS} scans: {took_s:.2f} s")
    assert took_s < 2


@pytest.mark.row(76)
def test_a_long_text_does_not_lengthen_the_short_ones(tmp_path: Path, say: Say) -> None:
    text = TextInput(max_tokens=TOKENS, pad_id=0, vocab_size=len(SPECIALS) + len(WORDS))
    buckets = Buckets(tokens=(8, 64, TOKENS))
    manifest = reader(version=1, labels=MOODS, text=text, buckets=buckets)
    models, folder = tmp_path / "models", tmp_path / "service"
    folder.mkdir()
    write_bundle(models, manifest, READER)
    with Service(
        [str(models), "--port", "0", "--set", "batching.max_batch_rows=32",
         "--set", "batching.max_wait_ms=5"],
        folder,
    ) as service:  # fmt: skip
        before = [service.metric(f"inferctl_{name}") for name in COUNTERS]
        with ThreadPoolExecutor(32) as clients:
            rounds = [
                (
                    times_of_short_ones(service, clients, SHORT),
                    times_of_short_ones(service, clients, LONG),
                )
                for _ in range(WARM_UP + ROUNDS)
            ]
        after = [service.metric(f"inferctl_{name}") for name in COUNTERS]
        tokens, padding = np.subtract(after, before)
        alone_s, beside_s = (np.concatenate(phase) for phase in zip(*rounds[WARM_UP:], strict=True))
    alone, beside = np.percentile(alone_s, 99) * 1000, np.percentile(beside_s, 99) * 1000
    say(f"waste {(tokens + padding) / tokens:.2f}, p99 {alone:.1f} ms alone, {beside:.1f} beside")
    assert tokens > 0
    assert tokens + padding <= 4 * tokens
    assert beside <= 1.5 * alone + SPARE_MS  # of 33 clients in one interpreter


def times_of_short_ones(service: Service, clients: ThreadPoolExecutor, first: str) -> list[float]:
    """What 31 short texts take that are asked beside a first one."""

    def ask(text: str) -> float:
        begun_s = time.monotonic()
        assert service.post_json(MOOD, {"text": text}).status == 200
        return time.monotonic() - begun_s

    return list(clients.map(ask, [first, *[SHORT] * 31]))[1:]
