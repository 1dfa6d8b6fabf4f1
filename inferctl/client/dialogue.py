"""What a client asks and how it understands the answers: all of it but the sending."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypedDict, TypeVar
from urllib.parse import quote

from inferctl.client.errors import (
    ClientError,
    InvalidInput,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from inferctl.client.exchange import (
    Encode,
    Outgoing,
    Patience,
    Steps,
    TimeLeft,
    error_of,
    exchange,
    is_refusal,
    json_of,
)
from inferctl.client.inputs import JSON, Content, Input, document, is_picture, picture
from inferctl.client.results import Prediction, prediction_of
from inferctl.client.served import Health, Model, health_of, models_of

T = TypeVar("T")

Outcome = Prediction | ClientError

# The body of a request for many stays below it; a server takes 14 MiB unless told otherwise.
MOST_BYTES = 2 * 2**20
# By these statuses one unusable item spoils the request for all.
SPOILED = (400, 413, 422)
REQUEST_ID_BYTES = 8


class Options(TypedDict, total=False):
    """What may be said of a prediction.

    Without `model` the server's default one answers; another `version` than the served one is
    refused. `top_k` is of image classifiers, `confidence_threshold` of detectors. `timeout_s` is
    how long the answer is of use. `bulk` requests let `interactive` ones go first.
    """

    model: str | None
    version: int | None
    top_k: int | None
    confidence_threshold: float | None
    timeout_s: float | None
    priority: Literal["interactive", "bulk"] | None


class Dialogue:
    """The logic of both clients. What its methods return are steps, see `exchange`."""

    def __init__(self, timeout_s: float, patience: Patience) -> None:
        self._timeout_s = timeout_s
        self._patience = patience

    def predict(self, x: Input, options: Options) -> Steps[Prediction]:
        """Ask for one. Raises ClientError."""
        time_left = self._time_left(options)
        chosen = chosen_of(options)
        if is_picture(x):
            content = yield from encoding(picture, x)
            outgoing = _prediction(content, options, chosen)
        else:
            outgoing = _prediction(Content(document(x, chosen), JSON), options)
        answer = yield from self._exchange(outgoing, time_left)
        return prediction_of(answer, outgoing.request_id)

    def predict_share(self, share: Sequence[Input], options: Options) -> Steps[list[Outcome]]:
        """Ask for several, which are texts or tensors if they are more than one.

        Errors are in their places.
        """
        if len(share) == 1:
            return [(yield from self._alone(share[0], options))]
        outcomes: dict[int, Outcome] = {}
        documents: dict[int, bytes] = {}
        for place, x in enumerate(share):
            try:
                documents[place] = document(x, chosen_of(options))
            except InvalidInput as error:
                outcomes[place] = error
        for places in _fitting(documents):
            together = yield from self._together([documents[place] for place in places], options)
            for place, outcome in zip(places, together, strict=True):
                outcomes[place] = outcome or (yield from self._alone(share[place], options))
        return [outcomes[place] for place in range(len(share))]

    def models(self) -> Steps[list[Model]]:
        """Ask what is served. Raises ClientError."""
        return models_of((yield from self._get("/models")))

    def health(self) -> Steps[Health]:
        """Ask for the state. Raises ClientError."""
        return health_of((yield from self._get("/health")))

    def metrics(self) -> Steps[str]:
        """Ask for the numbers. Raises ClientError."""
        reply = yield from exchange(
            Outgoing("GET", "/metrics"), self._time_left({}), self._patience
        )
        return reply.body.decode("utf-8", errors="replace")

    def ready(self) -> Steps[bool]:
        """Ask whether every model is warm. Who does not answer is not ready. Raises ClientError."""
        try:
            yield from exchange(
                Outgoing("GET", "/readyz"), self._time_left({}), self._patience.without_retries()
            )
        except (Unavailable, Unreachable):
            return False
        return True

    def _alone(self, x: Input, options: Options) -> Steps[Outcome]:
        try:
            return (yield from self.predict(x, options))
        except ClientError as error:
            return error

    def _together(self, documents: list[bytes], options: Options) -> Steps[list[Outcome | None]]:
        """Ask for several in one request; None for what may fare better alone."""
        content = Content(b'{"items":[%b]}' % b",".join(documents), JSON)
        outgoing = _prediction(content, options)
        try:
            answer = yield from self._exchange(outgoing, self._time_left(options))
        except ClientError as error:
            return [None if error.status in SPOILED else error] * len(documents)
        items = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(items, list) or len(items) != len(documents):
            foreign = "the answer has not one item for each that was sent"
            return [UnexpectedAnswer(foreign, request_id=outgoing.request_id)] * len(documents)
        return [_item(item, outgoing.request_id) for item in items]

    def _exchange(self, outgoing: Outgoing, time_left: TimeLeft) -> Steps[Any]:
        reply = yield from exchange(outgoing, time_left, self._patience)
        return json_of(reply, outgoing.request_id)

    def _get(self, path: str) -> Steps[Any]:
        return self._exchange(Outgoing("GET", path), self._time_left({}))

    def _time_left(self, options: Options) -> TimeLeft:
        return TimeLeft(options.get("timeout_s") or self._timeout_s, self._patience.now)


def encoding(encode: Callable[..., T], *arguments: Any) -> Steps[T]:
    """Encode an image, which takes long. Raises InvalidInput."""
    outcome: T | InvalidInput = yield Encode(partial(_encoded, encode, *arguments))
    if isinstance(outcome, InvalidInput):
        raise outcome
    return outcome


def _encoded(encode: Callable[..., T], *arguments: Any) -> T | InvalidInput:
    """What is encoded, or why it cannot be: a step's work has a result, and raises nothing."""
    try:
        return encode(*arguments)
    except InvalidInput as error:
        return error


def _item(item: Any, request_id: str) -> Outcome | None:
    """One answer of many; a problem has a status."""
    if isinstance(item, dict) and "status" in item:
        error = error_of(item["status"], item, request_id)
        return None if is_refusal(error) else error
    try:
        return prediction_of(item, request_id)
    except UnexpectedAnswer as error:
        return error


def _prediction(
    content: Content, options: Options, query: Mapping[str, Any] | None = None
) -> Outgoing:
    """The request; it has an id of its own, by which the server's log knows all its attempts."""
    model, version, priority = map(options.get, ("model", "version", "priority"))
    request_id = secrets.token_hex(REQUEST_ID_BYTES)
    headers = {"content-type": content.content_type, "x-request-id": request_id}
    return Outgoing(
        "POST",
        "/predict" if model is None else f"/models/{quote(str(model), safe='')}/predict",
        request_id,
        {**(query or {}), **({} if version is None else {"version": version})},
        headers | ({} if priority is None else {"x-priority": str(priority)}),
        content.body,
        is_prediction=True,
    )


def chosen_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the task, those alone that were given."""
    given = {
        "top_k": options.get("top_k"),
        "confidence_threshold": options.get("confidence_threshold"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _fitting(documents: Mapping[int, bytes]) -> Iterator[list[int]]:
    """The places of the documents, as many together as fit into a request."""
    places: list[int] = []
    size = 0
    for place, content in documents.items():
        if places and size + len(content) > MOST_BYTES:
            yield places
            places, size = [], 0
        places.append(place)
        size += len(content)
    if places:
        yield places
