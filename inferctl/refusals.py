"""What a client is told that a request came to nothing; the tree is drawn in errors.py."""

from __future__ import annotations

from inferctl.errors import InferctlError


class RequestError(InferctlError):
    """A request that cannot be parsed. Its texts are ours alone: input is never echoed."""

    status = 400
    code = "malformed"


class Unauthorized(RequestError):
    """No API key, or none that is known; which of the two is not said."""

    status = 401
    code = "unauthorized"


class Forbidden(RequestError):
    """A key without the scope, or a page of another origin."""

    status = 403
    code = "forbidden"


class NotFound(RequestError):
    """No such path or model."""

    status = 404
    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path exists, the method does not; `allow` goes into the `Allow` header."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, what: str, *, hint: str = "", allow: str = "GET") -> None:
        super().__init__(what, hint=hint)
        self.allow = allow


class RequestTimeout(RequestError):
    """The client sent its body too slowly."""

    status = 408
    code = "request_timeout"


class Conflict(RequestError):
    """What is asked for does not go with the state that the thing is in.

    `retry_after_s` is when that may be another one, 0 if never.
    """

    status = 409
    code = "conflict"

    def __init__(self, what: str, *, hint: str = "", retry_after_s: float = 0) -> None:
        super().__init__(what, hint=hint)
        self.retry_after_s = retry_after_s


class Gone(RequestError):
    """It was there, and its time is over."""

    status = 410
    code = "gone"


class TooLarge(RequestError):
    """Body, pixels or text over the limit."""

    status = 413
    code = "too_large"


class UriTooLong(RequestError):
    """The request line is over the limit."""

    status = 414
    code = "uri_too_long"


class UnsupportedMedia(RequestError):
    """A content type or encoding that this model does not take."""

    status = 415
    code = "unsupported_media"


class Misdirected(RequestError):
    """Asked by a name that is not this service's."""

    status = 421
    code = "misdirected"


class Unprocessable(RequestError):
    """Parsed, but unusable: a damaged image, a text without tokens, a field out of range."""

    status = 422
    code = "unprocessable"


class EmptyText(Unprocessable):
    """A text that is no token of its model."""

    code = "empty_text"


RETRY_HINT = "retry after the seconds in Retry-After"


class Overloaded(RequestError):
    """Refused for now. `reason` is how it is counted; `retry_after_s` goes into the answer."""

    status = 429
    code = "overloaded"

    def __init__(
        self, what: str, *, hint: str = "", reason: str = "queue", retry_after_s: float = 1.0
    ) -> None:
        super().__init__(what, hint=hint)
        self.reason = reason
        self.retry_after_s = retry_after_s


class HeadersTooLarge(RequestError):
    """One header, all of them, or their number is over the limit."""

    status = 431
    code = "headers_too_large"


class ClientGone(RequestError):
    """The client closed its connection; logged, never sent."""

    status = 499
    code = "client_gone"


class RowFailed(RequestError):
    """The model failed on this row."""

    status = 500
    code = "row_failed"


class NonFiniteOutput(RowFailed):
    """What the model says of this row is NaN or infinite, which JSON cannot say."""

    code = "non_finite_output"


class OutOfMemory(RowFailed):
    """The device's memory does not hold what the model needs for this row alone."""

    code = "out_of_memory"


class EngineCrash(RowFailed):
    """The engine died on this row, twice: in its batch, and then alone."""

    code = "engine_crash"


class Unsupported(RequestError):
    """What a protocol has, and this server has not."""

    status = 501
    code = "unsupported"


class Unavailable(RequestError):
    """Not ready, draining, or the engine is being replaced."""

    status = 503
    code = "unavailable"

    def __init__(self, what: str, *, hint: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(what, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(RequestError):
    """The answer would have come too late."""

    status = 504
    code = "deadline_exceeded"
