"""Does everybody get his own answer? Clients that send what nobody else does, and get it back."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from onnx import TensorProto, helper

from tests.faults.kept import Address, Hang, Kept, NoAnswer, post
from tests.faults.kit import model
from tests.graphs import image_fields, write_bundle

PATH = "/models/echoes/predict"
CLIENTS = 64
CANCELLED_SHARE = 0.05
POISON_SHARE = 0.01
POISON = 5.0
# Longer than an engine takes to come back.
PATIENCE_S = 30.0
PROGRESS = 10_000
POLL_S = 0.01


def write_echoes(models: Path) -> None:
    """`echoes` answers its four numbers; a row that begins with POISON fails its whole batch."""
    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, [2], [0.0, 0.0])
    nodes = [
        helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
        helper.make_node("Cast", ["column"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["zeros", "index"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    x, y = ({"name": end, "dtype": "float32", "shape": ["rows", 4]} for end in "xy")
    fields = image_fields(name="echoes", task="tensor", labels=[], inputs=[x], outputs=[y])
    del fields["image"]
    graph = model("float32", 4, nodes, zeros, first=(0, "int64"))
    write_bundle(models / "echoes" / "1", graph, fields)


@dataclass
class Heard:
    """What the clients heard. Whatever is not in `own`, `cancelled` or `failed` is in `wrong`."""

    own: int = 0
    cancelled: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)


class Crowd:
    """Clients that share the numbers from 0 to `requests`."""

    def __init__(self, address: Address, requests: int, seed: int) -> None:
        self._address = address
        self._seed = seed
        self._left = iter(range(requests))
        self._lock = threading.Lock()
        self.asked = 0
        self.heard = Heard()

    def live(self, client_number: int) -> None:
        """One client, until no number is left."""
        client = Kept(self._address)
        rng = random.Random(self._seed * CLIENTS + client_number)
        while (number := self._next()) is not None:
            self._ask(client, rng, number)
        try:
            late = client.left_over()
        finally:
            client.close()
        if late:
            self._note_wrong(f"client {client_number} got another answer: {late!r}")

    def _next(self) -> int | None:
        with self._lock:
            number = next(self._left, None)
            self.asked += number is not None
            return number

    def _ask(self, client: Kept, rng: random.Random, number: int) -> None:
        is_poison = rng.random() < POISON_SHARE
        is_cancelled = rng.random() < CANCELLED_SHARE
        row = [POISON if is_poison else 0.0, float(number), rng.randrange(2**20) / 64, -number / 4]
        request = post(PATH, b'{"inputs":%b}' % repr(row).encode())
        patience_s = rng.random() ** 3 * 0.05 + 0.0005 if is_cancelled else PATIENCE_S
        try:
            reply = client.ask(request, patience_s)
        except (Hang, NoAnswer) as error:
            if not is_cancelled:
                self._note_wrong(f"{number} is lost: {error!r}")
            with self._lock:
                self.heard.cancelled += is_cancelled
            return
        if reply.status == 200 and not is_poison and reply.json["outputs"]["y"] == row:
            with self._lock:
                self.heard.own += 1
        elif is_poison and reply.status in (422, 500):
            with self._lock:
                self.heard.failed += 1
        else:
            self._note_wrong(f"{row} got {reply.status} {reply.body[:200]!r}")

    def _note_wrong(self, line: str) -> None:
        with self._lock:
            self.heard.wrong.append(line)


def crowd(
    address: Address,
    requests: int,
    seed: int,
    incidents: list[Callable[[], None]],
    say: Callable[[str], None],
) -> Heard:
    """Ask so many; the incidents come at even distances meanwhile."""
    one = Crowd(address, requests, seed)
    threads = [threading.Thread(target=one.live, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    due = [requests * (n + 1) // (len(incidents) + 1) for n in range(len(incidents))]
    told = 0
    for thread in threads:
        while thread.is_alive():
            thread.join(POLL_S)
            while due and one.asked >= due[0]:
                incidents[-len(due)]()
                due.pop(0)
            if one.asked - told >= PROGRESS:
                told = one.asked
                say(f"identity: {told:,} of {requests:,}")
    assert not due, "it was over before every incident came"
    return one.heard
