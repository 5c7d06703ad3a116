"""`make picture`: docs/demo.svg, a recording of the demo's table from a real run."""

from __future__ import annotations

import html
import io
import re
import socket
import sys
import time
from collections import deque
from pathlib import Path

from rich.console import Console, Group
from rich.terminal_theme import MONOKAI

from main.commands.common import DEMO_TICKERS, parse_tickers
from main.commands.run import HINT, RATE, trading_of
from main.demo import Demo, failures
from main.logs import configure_logs
from main.settings import load_settings
from main.stack import StackConfig

from .recording import Reel, recording

PICTURE = Path(__file__).parent.parent / "docs" / "demo.svg"
RUN_S = 30.0
FRAMES, FRAME_S = 24, 0.5  # the last twelve seconds
TERMINAL = 124
WIDTH = 117  # of the picture: the table needs no more
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def main() -> int:
    """Run the demo without a terminal, and keep its last pictures."""
    configure_logs(level="error")
    tickers = parse_tickers(DEMO_TICKERS)
    config = StackConfig(
        settings=load_settings(env_file=None),
        tickers=tickers,
        rate=RATE,
        trading=trading_of(tickers),
    )
    said = ["$ make demo"]
    demo = Demo(config, lambda words: said.append(words.replace(socket.gethostname(), "localhost")))
    try:
        demo.start()
        pictures = film(demo)
        failed = failures(demo.checks())
    finally:
        demo.stop()
    if failed:
        sys.stderr.write(f"not drawn, this did not work: {failed}\n")
        return 1
    lines = {len(canvas().render_lines(picture)) for picture in pictures}
    assert len(lines) == 1, "every picture has as many lines"
    reel = Reel(head=len(said) + 1, lines=lines.pop(), frames=len(pictures), frame_s=FRAME_S)
    drawn = recording(draw(said, pictures[:1]), draw(said, pictures), reel)
    PICTURE.write_text(self_contained(drawn), encoding="utf-8")
    sys.stderr.write(f"wrote {PICTURE}\n")
    return 0


def film(demo: Demo) -> list[Group]:
    """The last pictures of `RUN_S` seconds. They are made at the terminal's pace: the rate is
    measured from one to the next."""
    taken: deque[Group] = deque(maxlen=FRAMES)
    began, next_s = time.monotonic(), 0.0
    while demo.runs() and (now := time.monotonic() - began) < RUN_S:
        picture = demo.picture(TERMINAL, HINT)
        if now >= next_s:
            taken.append(picture)
            next_s = now + FRAME_S
        time.sleep(0.125)
    return list(taken)


def canvas() -> Console:
    return Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)


def draw(said: list[str], pictures: list[Group]) -> str:
    """The words of the start, and the pictures below each other."""
    paper = canvas()
    paper.print(said[0], style="bold")
    for words in said[1:]:
        paper.print(words, style="dim", highlight=False)
    paper.print()
    for picture in pictures:
        paper.print(picture)
    return paper.export_svg(title="TickerBus", theme=MONOKAI, unique_id="tickerbus")


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
