"""What the hot path asks of a dialect: how a body is read, how an answer is written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from inferctl.errors import InferctlError
from inferctl.server.call import Call, Reply
from inferctl.server.served import ServedModel
from inferctl.tasks.base import Array, Body, Prepared


class Form(ABC):
    """How the bodies that follow one head are read, and how their answers are written.

    `read` makes a body an item, or Many of them; raises RequestError and below. `preprocess` makes
    an item tensors, in a thread when `off_loop`; raises the same. `postprocess` makes an answer of
    what it said of the request and the outputs, which are only valid until it returns; raises
    RowFailed.
    """

    __slots__ = ("off_loop", "postprocess", "preprocess", "read")

    off_loop: bool
    read: Callable[[Body], Any]
    preprocess: Callable[[Any], Prepared]
    postprocess: Callable[[Any, Mapping[str, Array]], Any]

    @abstractmethod
    def reply(self, answer: Any, call: Call, run_s: float, now_s: float) -> Reply:
        """Write the answer; the model's run took `run_s` seconds."""

    def join(self, replies: list[Reply], call: Call, now_s: float) -> Reply:
        """Write the answer of Many items from the replies to each."""
        raise NotImplementedError("a form that reads many items must join their answers")


class Dialect(ABC):
    """One way of asking."""

    name: ClassVar[str]

    @abstractmethod
    def form(self, call: Call, model: ServedModel) -> Form:
        """The form of the bodies after a head. Raises RequestError for one that is not taken."""

    @abstractmethod
    def problem(self, error: InferctlError, call: Call) -> Reply:
        """Write an error."""
