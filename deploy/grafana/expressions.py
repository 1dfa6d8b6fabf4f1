"""PromQL, as the panels need it.

An expression sums over everything but the labels that its panel shows. What versions counted that
are long gone is added up in one series, which grows by all that a version ever counted when that
one goes: a rate of it is of nothing that happened, so it is left out everywhere.
"""

from __future__ import annotations

WINDOW = "$__rate_interval"
SERVICE = 'job=~"$job"'
MODEL = 'job=~"$job", model=~"$model", version!="earlier"'

# Outcomes that are not the client's fault, nor refused on purpose.
OURS = (
    "row_failed|non_finite_output|out_of_memory|engine_crash|internal_error|unavailable"
    "|deadline_exceeded"
)


def rate(metric: str, by: str, labels: str = MODEL) -> str:
    """A counter's increase per second."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}[{WINDOW}]))"


def increase(metric: str, by: str, labels: str = SERVICE) -> str:
    """How often something happened in the width of a pixel, so that single events are seen."""
    return f"sum by ({by}) (increase({metric}{{{labels}}}[{WINDOW}]))"


def quantile(share: float, metric: str, by: str = "model", labels: str = MODEL) -> str:
    """A quantile, read from a histogram's buckets."""
    return f"histogram_quantile({share:g}, {rate(f'{metric}_bucket', f'{by}, le', labels)})"


def quantiles(metric: str, *shares: float) -> dict[str, str]:
    """Quantiles of each model, by their legends."""
    return {f"p{share * 100:g} {{{{model}}}}": quantile(share, metric) for share in shares}


def mean(metric: str, by: str = "model") -> str:
    """A histogram's mean."""
    return f"{rate(f'{metric}_sum', by)} / {rate(f'{metric}_count', by)}"


def gauge(metric: str, by: str = "model", labels: str = MODEL) -> str:
    """What a gauge says, over all instances."""
    return f"sum by ({by}) ({metric}{{{labels}}})"


def largest(expression: str) -> str:
    """The largest of a model's series."""
    return f"max by (model) ({expression})"


def answered(outcomes: str, by: str = "model") -> str:
    """Requests a second of these outcomes."""
    return rate("inference_requests_total", by, f'{MODEL}, outcome=~"{outcomes}"')


def errors(by: str = "model") -> str:
    """The share of what is ours that failed."""
    return f"{answered(OURS, by)} / {answered(f'ok|{OURS}', by)}"


def padding() -> str:
    """The share of the tokens run that are padding."""
    filled, own = (rate(f"inferctl_{kind}_total", "model") for kind in ("padding_tokens", "tokens"))
    return f"{filled} / ({filled} + {own})"


def time_to_drain() -> str:
    """Seconds that the longest queue of a model takes, at the speed that its instance has."""
    return largest(f"inferctl_queue_rows{{{MODEL}}} * inferctl_row_seconds{{{MODEL}}}")
