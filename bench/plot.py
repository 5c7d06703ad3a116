"""The picture: throughput against the size of a frame, and latency percentiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .latency import Latencies
from .rounds import Result

SHARES = (0.5, 0.9, 0.99, 0.999)


def draw(results: Mapping[str, Result], latencies: Sequence[Latencies], path: Path) -> None:
    """`path` without its ending: a PNG and an SVG."""
    import matplotlib as mpl  # noqa: PLC0415  (an extra, and slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8))
    sizes = (1, 10, 100)
    left.plot(
        sizes,
        [results[f"TickerBus, {size} a frame"].per_s for size in sizes],
        marker="o",
        linewidth=2.5,
        label="TickerBus, journalled and checked",
    )
    for name, result in results.items():
        if name.startswith("limit"):
            left.axhline(result.per_s, linestyle="--", color="grey", linewidth=1)
            left.text(1, result.per_s * 1.05, name, fontsize=8, color="grey")
        elif name.endswith(", 10 a frame") and not name.startswith("TickerBus"):
            peer = name.removesuffix(", 10 a frame")
            found = {size: results.get(f"{peer}, {size} a frame") for size in sizes}
            rates = {size: result.per_s for size, result in found.items() if result}
            left.plot(rates.keys(), rates.values(), marker="s", linestyle=":", label=peer)
    left.set(xscale="log", yscale="log", xlabel="messages a frame", ylabel="messages a second")
    left.set_xticks(sizes, [str(size) for size in sizes])
    left.legend(fontsize=7, loc="lower right")
    roads = list(dict.fromkeys(one.name for one in latencies))
    for one in latencies:
        right.plot(
            range(len(SHARES)),
            [one.at(share) for share in SHARES],
            marker="o" if one.per_s == latencies[0].per_s else "^",
            color=f"C{roads.index(one.name)}",
            linestyle="-" if one.per_s == latencies[0].per_s else "--",
            label=f"{one.name}, {one.per_s:,}/s",
        )
    right.set_xticks(range(len(SHARES)), [f"p{share * 100:g}" for share in SHARES])
    right.set(yscale="log", ylabel="microseconds, frame in to handler")
    right.legend(fontsize=7)
    figure.tight_layout()
    for ending in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{ending}"), dpi=120)
    plt.close(figure)
