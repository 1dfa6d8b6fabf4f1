"""Every error a person or a client can cause, with what each surface says about it.

A message has three parts: what went wrong, where, and what to do. The command line prints them on
one line and exits with `exit_code`; HTTP answers `application/problem+json` with `status` and the
stable `code`; the classes of what a client is told are in refusals.py.

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
    ├── DoctorError                     -   doctor_failed             exit 1
    ├── PredictError                    -   predict_failed            exit 8
    ├── WatchError                      -   watch_failed              exit 9
    ├── GateError                       -   gate_failed               exit 10
    └── RequestError                   400  malformed
        ├── Unauthorized               401  unauthorized
        ├── Forbidden                  403  forbidden
        ├── NotFound                   404  not_found
        ├── MethodNotAllowed           405  method_not_allowed
        ├── RequestTimeout             408  request_timeout
        ├── Conflict                   409  conflict
        ├── Gone                       410  gone
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


class DoctorError(InferctlError):
    """Something that `inferctl doctor` looked at would not serve."""

    code = "doctor_failed"
    exit_code = 1


class PredictError(InferctlError):
    """Items that failed, or a run that ended before its last item."""

    code = "predict_failed"
    exit_code = 8


class WatchError(InferctlError):
    """A server that cannot be watched."""

    code = "watch_failed"
    exit_code = 9


class GateError(InferctlError):
    """A measurement that breaks a limit or is slower than its baseline."""

    code = "gate_failed"
    exit_code = 10
