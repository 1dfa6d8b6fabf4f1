"""The two formats, read by somebody else's parsers."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from inferctl.arena.exemplars import Exemplar
from inferctl.arena.metric import Metric
from inferctl.server.text import Text, labels_of

COUNTER = Metric("a_total", "counter", "Counted")
FOREIGN = Metric("nv_a", "counter", "Counted")
INFO = Metric("b_info", "gauge", "Known")
HISTOGRAM = Metric("c_seconds", "histogram", "Took", buckets=(0.5, 2))
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ODD = 'a "b" \\ c\nd'


def written(text: Text) -> str:
    for metric in (COUNTER, FOREIGN):
        text.begin(metric)
        text.add(metric.name, labels_of(model=ODD), 3)
    text.begin(INFO)
    text.add(INFO.name, labels_of(version="1"), 1)
    text.begin(HISTOGRAM)
    exemplars = (None, Exemplar(0.75, 1.7e9, TRACE), None)
    text.add_histogram(HISTOGRAM, labels_of(model="m"), (1.0, 2.0, 4.0, 99.5), exemplars)
    return text.written().decode()


@pytest.mark.parametrize("is_open", [False, True])
def test_both_formats_say_the_same(is_open: bool) -> None:
    parse = open_metrics if is_open else text_format
    families = list(parse(written(Text(open_metrics=is_open))))
    samples = {
        (sample.name, *sample.labels.items()): sample.value
        for family in families for sample in family.samples
    }  # fmt: skip
    assert samples == {
        ("a_total", ("model", ODD)): 3,
        # This parser gives every counter the ending.
        ("nv_a" if is_open else "nv_a_total", ("model", ODD)): 3,
        ("b_info", ("version", "1")): 1,
        ("c_seconds_bucket", ("model", "m"), ("le", "0.5")): 1,
        ("c_seconds_bucket", ("model", "m"), ("le", "2.0")): 3,
        ("c_seconds_bucket", ("model", "m"), ("le", "+Inf")): 7,
        ("c_seconds_count", ("model", "m")): 7, ("c_seconds_sum", ("model", "m")): 99.5,
    }  # fmt: skip
    kinds = ["counter", "unknown", "info", "histogram"] if is_open else [
        "counter", "counter", "gauge", "histogram",
    ]  # fmt: skip
    assert [family.type for family in families] == kinds


def test_an_example_is_told_in_open_metrics_alone() -> None:
    assert TRACE not in written(Text())
    found = [
        sample.exemplar
        for family in open_metrics(written(Text(open_metrics=True)))
        for sample in family.samples
        if sample.exemplar
    ]
    assert [(one.labels, one.value, float(one.timestamp)) for one in found] == [
        ({"trace_id": TRACE}, 0.75, 1.7e9)
    ]
