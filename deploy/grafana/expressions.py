"""PromQL, as the panels need it.

An expression sums over everything but the labels that its panel shows, so labels that come later,
a model's version among them, change nothing.
"""

from __future__ import annotations

WINDOW = "$__rate_interval"
SERVICE = 'job=~"$job"'
MODEL = 'job=~"$job", model=~"$model"'

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


def mean(metric: str, by: str = "model") -> str:
    """A histogram's mean."""
    return f"{rate(f'{metric}_sum', by)} / {rate(f'{metric}_count', by)}"


def gauge(metric: str, by: str = "model", labels: str = MODEL) -> str:
    """What a gauge says, over all instances."""
    return f"sum by ({by}) ({metric}{{{labels}}})"


def largest(expression: str) -> str:
    """The largest of a model's series."""
    return f"max by (model) ({expression})"


def answered(outcomes: str) -> str:
    """Requests a second of these outcomes, by model."""
    return rate("inference_requests_total", "model", f'{MODEL}, outcome=~"{outcomes}"')
