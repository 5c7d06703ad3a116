"""Prometheus's metric families, in one line each. Every name begins with `tickerbus_`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from ..utils.figures import Histogram

PREFIX: Final = "tickerbus_"
# By the labels' values, a tuple of str; Any because a Mapping is invariant in its keys.
Labelled = Mapping[Any, float]


def gauge(name: str, says: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, says, value=value)


def gauges(name: str, says: str, labels: Sequence[str], values: Labelled) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, says, labels=labels)
    for labelled, value in values.items():
        family.add_metric(labelled, value)
    return family


def counter(name: str, says: str, value: float) -> CounterMetricFamily:
    """`_total` is added to the name."""
    return CounterMetricFamily(PREFIX + name, says, value=value)


def counters(name: str, says: str, labels: Sequence[str], values: Labelled) -> CounterMetricFamily:
    """`_total` is added to the name."""
    family = CounterMetricFamily(PREFIX + name, says, labels=labels)
    for labelled, value in values.items():
        family.add_metric(labelled, value)
    return family


def histogram(name: str, says: str, found: Histogram) -> HistogramMetricFamily:
    buckets, total = found.read()
    return HistogramMetricFamily(PREFIX + name, says, buckets=buckets, sum_value=total)


def histograms(
    name: str, says: str, label: str, found: Iterable[tuple[str, Histogram]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(PREFIX + name, says, labels=[label])
    for labelled, each in found:
        buckets, total = each.read()
        family.add_metric([labelled], buckets=buckets, sum_value=total)
    return family


def one_of(values: Iterable[str], now: str) -> Labelled:
    """1 for the state of now, 0 for the others."""
    return {(value,): float(value == now) for value in values}
