"""What `bench` is told of the load, and the plan that this makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from inferctl.errors import UsageError

if TYPE_CHECKING:
    from inferctl.bench import Plan
    from inferctl.bench.measurement import Load

DEFAULT_USERS = 8

Users: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--users", "-u", min=1, help="Closed loop: requests under way at any time. [8]",
        show_default=False,
    ),
]  # fmt: skip
Rate: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--rate", "-r", min=0.001, show_default=False,
        help="Open loop: requests per second, sent whether or not those before are answered; "
        "latencies are from when each was to be sent.",
    ),
]  # fmt: skip
Arrivals: TypeAlias = Annotated[
    Literal["poisson", "constant"],
    typer.Option(help="When they are sent, with a rate, one of --sweep, or --slo."),
]
Shape: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="The load over --duration: ramp, spike, soak, or points as in 0s=10%,30s=100%.",
        show_default=False,
    ),
]
Replay: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Send as the predictions of this request log came in, or as many times as fast that "
        "the mean is --rate.",
        show_default=False,
    ),
]
Duration: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--duration", "-t", help="Time to measure: 10s, 1m30s. [until three windows agree]",
        show_default=False,
    ),
]  # fmt: skip
Window: TypeAlias = Annotated[
    str, typer.Option(help="Length of a window. Three that agree in a row are stable.")
]
MaxWindows: TypeAlias = Annotated[
    int, typer.Option(min=3, help="Give up waiting for that after so many.")
]
Processes: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Of the load generator: a number, or auto: twice as many while one is busy, up to "
        "half of the cores."
    ),
]
Connections: TypeAlias = Annotated[
    int,
    typer.Option(min=1, help="The most that --rate opens; what comes beyond waits in the client."),
]
Warmup: TypeAlias = Annotated[str, typer.Option(help="Load before that, not measured.")]
Data: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Folder of images, or file of texts, one per line. [made-up inputs]"),
]
DialectName: TypeAlias = Annotated[
    Literal["native", "raw", "v2", "v2-json"],
    typer.Option(
        help="The task's JSON; an image or text as it is; or the Open Inference Protocol, with "
        "binary tensors or all in JSON."
    ),
]
Size: TypeAlias = Annotated[
    str | None, typer.Option(help="Of made-up images: 640x480.", show_default=False)
]
Words: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="In each made-up text. [1 to 50]", show_default=False),
]
Ca: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="PEM file of who signed the server's certificate. [the system's]", show_default=False
    ),
]


@dataclass(frozen=True, slots=True)
class Loading:
    """The options of the load."""

    users: int | None
    rate: float | None
    arrivals: Literal["poisson", "constant"]
    shape: str | None
    replay: Path | None
    duration: str | None
    window: str
    max_windows: int
    warmup: str

    def plan(self, url: str, model: str | None) -> Plan:
        """The plan of them, with inputs as they come. Raises UsageError."""
        from inferctl.bench.plan import Plan, parse_duration, split_duration
        from inferctl.bench.shape import points_of

        window_s = parse_duration(self.window)
        if window_s == 0:
            raise UsageError("nothing can be measured in 0 s", where="--window")
        windows, until_stable = self.max_windows, self.duration is None
        if self.duration is not None:
            duration_s = parse_duration(self.duration)
            if duration_s == 0:
                raise UsageError("nothing can be measured in 0 s", where="--duration")
            windows, window_s = split_duration(duration_s, window_s)
        elif self.shape is not None:
            raise UsageError("a shape needs a time", hint="give --duration with --shape")
        points_of(self.shape, 0.0, windows * window_s)
        plan = Plan(
            url, model, self._load(), windows, window_s, parse_duration(self.warmup), until_stable
        )
        return self._with_replay(plan) if self.replay else plan

    def _load(self) -> Load:
        from inferctl.bench.measurement import Load

        if self.users is not None and (self.rate is not None or self.replay is not None):
            raise UsageError("--users does not go with --rate or --replay", hint="give one of them")
        if self.rate is not None or self.replay is not None:
            rate = 1.0 if self.rate is None else self.rate
            return Load(rate_per_s=rate, arrivals=self.arrivals, shape=self.shape)
        return Load(users=self.users or DEFAULT_USERS, shape=self.shape)

    def _with_replay(self, plan: Plan) -> Plan:
        from inferctl.bench.replay import mean_rate_per_s, read_log

        if self.replay is None or self.shape is not None:
            raise UsageError("a replay has its own shape", hint="leave --shape out")
        times_s = read_log(self.replay, plan.model)
        rate = self.rate or mean_rate_per_s(times_s)
        return replace(
            plan, load=replace(plan.load, rate_per_s=rate, arrivals="replay"), replay=times_s
        )
