"""What the hot path asks of a dialect: how a body is read, how an answer is written."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from inferctl.errors import InferctlError
from inferctl.server.call import Call, Reply
from inferctl.server.served import ServedModel
from inferctl.server.terms import USUAL, Terms
from inferctl.tasks.base import Array, Body, Prepared


class Form(ABC):
    """How the bodies that follow one head are read, and how their answers are written.

    `read` makes a body an item, or Many of them, or an Ask; raises RequestError and below.
    `preprocess` makes an item tensors, in a thread when `off_loop`; raises the same. `postprocess`
    makes an answer of what it said of the request and the outputs, which are only valid until it
    returns; raises RowFailed.
    """

    __slots__ = ("off_loop", "postprocess", "preprocess", "read")

    off_loop: bool
    read: Callable[[Body], Any]
    preprocess: Callable[[Any], Prepared]
    postprocess: Callable[[Any, Mapping[str, Array]], Any]

    def reply(self, answer: Any, call: Call, run_s: float, now_s: float) -> Reply:
        """Write the answer; the model's run took `run_s` seconds."""
        raise NotImplementedError("a form that reads items must write their answers")

    def join(self, replies: list[Reply], call: Call, now_s: float) -> Reply:
        """Write the answer of Many items from the replies to each."""
        raise NotImplementedError("a form that reads many items must join their answers")


class Ask(NamedTuple):
    """A body that says more than its head: how the rest of its way goes, and on what terms.

    `form` takes the place of the one that read it. `terms` may shorten the deadline that the head
    gave, and make the rows bulk.
    """

    form: Form
    item: Any
    terms: Terms = USUAL


class Dialect(ABC):
    """One way of asking."""

    name: ClassVar[str]
    # Its paths, whether or not their model exists.
    pattern: ClassVar[re.Pattern[str]]

    @abstractmethod
    def paths(self, model: str, version: str) -> tuple[str, ...]:
        """The paths of a model that is served."""

    @abstractmethod
    def form(self, call: Call, model: ServedModel) -> Form:
        """The form of the bodies after a head. Raises RequestError for one that is not taken."""

    @abstractmethod
    def problem(self, error: InferctlError, call: Call) -> Reply:
        """Write an error."""
