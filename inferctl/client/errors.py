"""What can go wrong with a prediction, for whoever asked for it.

One class for each thing that a caller may want to do about it.

    ClientError
    ├── InvalidInput          nothing was sent: the input cannot be read or encoded
    ├── Unreachable           no connection, or it broke before the answer was complete
    ├── UnexpectedAnswer      answered, but not as an inferctl server does
    ├── BadRequest            400, 405, 408, 413, 415, 422: the server does not take this input
    ├── NotAllowed            401, 403
    ├── NotFound              404: no such model, version or job
    ├── Conflict              409: it does not go with the state that the job is in
    ├── Gone                  410: the job's result is forgotten
    ├── Overloaded            429: the queue is full
    ├── PredictionFailed      500: the model failed on this input, or the server has a bug
    ├── Unavailable           503: loading, or draining
    └── DeadlineExceeded      504, or no answer came in time
"""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """The root. `status` is None where no answer came; `code` is stable.

    `detail` says what went wrong, `hint` what to do, and may be empty. `request_id` is that of the
    server's log; empty when nothing was sent.
    """

    default_code: ClassVar[str] = "error"

    def __init__(
        self,
        detail: str,
        *,
        hint: str = "",
        code: str = "",
        status: int | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.code = code or self.default_code
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.detail}; {self.hint}" if self.hint else self.detail


class InvalidInput(ClientError):
    """Nothing was sent: a file that cannot be read, a type that cannot be encoded, a bad URL."""

    default_code = "invalid_input"


class Unreachable(ClientError):
    """The server was not reached, or the connection broke before its answer was complete."""

    default_code = "unreachable"


class UnexpectedAnswer(ClientError):
    """An answer came, but not one of an inferctl server."""

    default_code = "unexpected_answer"


class BadRequest(ClientError):
    """The server does not take this input."""

    default_code = "malformed"


class NotAllowed(ClientError):
    """The server wants another API key."""

    default_code = "not_allowed"


class NotFound(ClientError):
    """No such model, or not in this version; no such job, or another key's."""

    default_code = "not_found"


class Conflict(ClientError):
    """It does not go with the state that the job is in."""

    default_code = "conflict"


class Gone(ClientError):
    """The job's time is over: its result was kept as long as the server keeps results."""

    default_code = "gone"


class Overloaded(ClientError):
    """The queue is full, and stayed so for as long as there was time to retry."""

    default_code = "overloaded"


class PredictionFailed(ClientError):
    """The model failed on this input, or the server has a bug."""

    default_code = "internal_error"


class Unavailable(ClientError):
    """The server is loading or draining."""

    default_code = "unavailable"


class DeadlineExceeded(ClientError):
    """The answer did not come in time."""

    default_code = "deadline_exceeded"


BY_STATUS: dict[int, type[ClientError]] = {
    **dict.fromkeys((400, 405, 408, 413, 415, 422), BadRequest),
    **dict.fromkeys((401, 403), NotAllowed),
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: Overloaded,
    500: PredictionFailed,
    503: Unavailable,
    504: DeadlineExceeded,
}


def foreign(path: str) -> UnexpectedAnswer:
    """What is said of an answer that nobody understands."""
    return UnexpectedAnswer(
        f"{path} is not answered as an inferctl server does",
        hint="is it an inferctl server?",
        status=200,
    )
