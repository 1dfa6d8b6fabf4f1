"""Every error a person or a client can cause, with what each surface says about it.

A message has three parts: what went wrong, where, and what to do. The command line prints them on
one line and exits with `exit_code`; HTTP answers `application/problem+json` with `status` and the
stable `code`.

    InferctlError                      500  internal_error            exit 1
    ├── UsageError                      -   usage                     exit 2
    │   └── SettingsError               -   settings                  exit 2
    ├── StartError                      -   start_failed              exit 3
    │   ├── BundleError                 -   bundle_invalid            exit 3
    │   └── InsufficientMemory          -   insufficient_memory       exit 3
    ├── CheckpointError                 -   checkpoint_invalid        exit 4
    │   └── UntrustedCheckpoint         -   untrusted_checkpoint      exit 4
    ├── OutputError                     -   output_failed             exit 5
    ├── VerificationError               -   verification_failed       exit 6
    ├── BenchError                      -   bench_failed              exit 7
    ├── PredictError                    -   predict_failed            exit 8
    └── RequestError                   400  malformed
        ├── Unauthorized               401  unauthorized
        ├── Forbidden                  403  forbidden
        ├── NotFound                   404  not_found
        ├── MethodNotAllowed           405  method_not_allowed
        ├── RequestTimeout             408  request_timeout
        ├── TooLarge                   413  too_large
        ├── UriTooLong                 414  uri_too_long
        ├── UnsupportedMedia           415  unsupported_media
        ├── Misdirected                421  misdirected
        ├── Unprocessable              422  unprocessable
        │   └── EmptyText              422  empty_text
        ├── Overloaded                 429  overloaded
        ├── HeadersTooLarge            431  headers_too_large
        ├── ClientGone                 499  client_gone
        ├── RowFailed                  500  row_failed
        │   ├── NonFiniteOutput        500  non_finite_output
        │   ├── OutOfMemory            500  out_of_memory
        │   └── EngineCrash            500  engine_crash
        ├── Unsupported                501  unsupported
        ├── Unavailable                503  unavailable
        └── DeadlineExceeded           504  deadline_exceeded
"""

from __future__ import annotations

from typing import ClassVar


class InferctlError(Exception):
    """The root. `what` is a sentence without a full stop; `where` and `hint` may be empty."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = f"; {self.hint}" if self.hint else ""
        return f"{self.what}{place}{advice}"


class UsageError(InferctlError):
    """A flag, an argument or a file that the person can correct."""

    code = "usage"
    exit_code = 2


class SettingsError(UsageError):
    """A setting that does not exist or whose value does not fit."""

    code = "settings"


class StartError(InferctlError):
    """The service cannot start: port taken, device missing, model that does not load."""

    code = "start_failed"
    exit_code = 3


class BundleError(StartError):
    """A bundle that is missing, damaged or not one of ours."""

    code = "bundle_invalid"


class InsufficientMemory(StartError):
    """A model does not fit into the memory, or not beside what is there already.

    Wherever it is told its text begins the same.
    """

    code = "insufficient_memory"
    text = "insufficient memory"

    def __init__(self, what: str, *, where: str = "", hint: str = "serve fewer models") -> None:
        super().__init__(f"{self.text}: {what}", where=where, hint=hint)


class CheckpointError(InferctlError):
    """A checkpoint that cannot be read or does not fit its model."""

    code = "checkpoint_invalid"
    exit_code = 4


class UntrustedCheckpoint(CheckpointError):
    """A checkpoint that would run code when loaded."""

    code = "untrusted_checkpoint"


class OutputError(InferctlError):
    """A result that cannot be written: disk full, folder read-only, target exists."""

    code = "output_failed"
    exit_code = 5


class VerificationError(InferctlError):
    """An exported graph that does not do what the checkpoint does."""

    code = "verification_failed"
    exit_code = 6


class BenchError(InferctlError):
    """A measurement that could not be made."""

    code = "bench_failed"
    exit_code = 7


class PredictError(InferctlError):
    """Items that failed, or a run that ended before its last item."""

    code = "predict_failed"
    exit_code = 8


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


class Overloaded(RequestError):
    """Refused for now. `reason` is how it is counted; `retry_after_s` goes into the answer."""

    status = 429
    code = "overloaded"
    reason = "queue"

    def __init__(
        self, what: str, *, hint: str = "", reason: str = "", retry_after_s: float = 1.0
    ) -> None:
        super().__init__(what, hint=hint)
        self.reason = reason or self.reason
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
