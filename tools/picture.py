"""`make picture`: docs/demo.svg, the demo's table as it stood after a real run."""

from __future__ import annotations

import html
import io
import re
import socket
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from main.commands.common import DEMO_TICKERS, parse_tickers
from main.commands.run import HINT, RATE, trading_of
from main.demo import Demo, failures
from main.logs import configure_logs
from main.settings import load_settings
from main.stack import StackConfig

PICTURE = Path(__file__).parent.parent / "docs" / "demo.svg"
RUN_S = 30.0
TERMINAL = 124
WIDTH = 117  # of the picture: the table needs no more
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def main() -> int:
    """Run the demo without a terminal, and draw its last picture."""
    configure_logs(level="error")
    tickers = parse_tickers(DEMO_TICKERS)
    config = StackConfig(
        settings=load_settings(env_file=None),
        tickers=tickers,
        rate=RATE,
        trading=trading_of(tickers),
    )
    canvas = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    canvas.print("$ make demo", style="bold")

    def say(words: str) -> None:
        canvas.print(words.replace(socket.gethostname(), "localhost"), style="dim", highlight=False)

    demo = Demo(config, say)
    try:
        demo.start()
        deadline = time.monotonic() + RUN_S
        while demo.runs() and time.monotonic() < deadline:
            demo.picture(
                WIDTH
            )  # as the terminal's does: the rate is measured from picture to picture
            time.sleep(0.125)
        canvas.print()
        canvas.print(demo.picture(TERMINAL, HINT))
        failed = failures(demo.checks())
    finally:
        demo.stop()
    if failed:
        sys.stderr.write(f"not drawn, this did not work: {failed}\n")
        return 1
    drawn = canvas.export_svg(title="TickerBus", theme=MONOKAI, unique_id="tickerbus")
    PICTURE.write_text(self_contained(drawn), encoding="utf-8")
    sys.stderr.write(f"wrote {PICTURE}\n")
    return 0


def self_contained(svg: str) -> str:
    """A picture that loads no font, and whose columns do not lean on spaces at the ends of texts:
    renderers differ in what they make of those."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)
    svg = re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", svg)
    return re.sub(r'x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"([^>]*)>([^<]*)<', _trimmed, svg)


def _trimmed(found: re.Match[str]) -> str:
    x, y, length, rest, text = found.groups()
    cells = html.unescape(text)
    cell = float(length) / len(cells)
    words = cells.strip("\u00a0")
    x = float(x) + cell * (len(cells) - len(cells.lstrip("\u00a0")))
    told = html.escape(words).replace("\u00a0", "&#160;")
    return f'x="{x:g}" y="{y}" textLength="{cell * len(words):g}"{rest}>{told}<'


if __name__ == "__main__":
    sys.exit(main())
