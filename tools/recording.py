"""Pure: pictures of a terminal, one after the other, as one SVG that moves.

rich draws all of them below each other; here each comes into the same place, at its time. What does
not change is there once. Who asks for less motion sees the last picture.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

LINE: Final = 24.4  # of rich's pictures, in its own units
_ELEMENT: Final = re.compile(r"<text [^>]*>[^<]*</text>|<rect fill=[^>]*/>")
_Y: Final = re.compile(r' y="([\d.]+)"')
_CLIP: Final = re.compile(r"line-(\d+)\)")
_MATRIX: Final = re.compile(r'(<g class="(\w+)-matrix">)(.*?)(</g>)', re.S)
_STYLES: Final = re.compile(r"(    \.\w+-r\d+ \{[^\n]*\}\n?|\.\w+-r\d+ \{[^\n]*\}\n?)+")


@dataclass(frozen=True, kw_only=True)
class Reel:
    """How the long picture is made up: `head` lines that stay, then `frames` of `lines` each."""

    head: int
    lines: int
    frames: int
    frame_s: float


def recording(first: str, long: str, reel: Reel) -> str:
    """`first`: the picture of head and first frame, for its window. `long`: of all, with one set of
    styles.

    Raises:
        ValueError: these are no pictures of rich's.
    """
    window, tape = _MATRIX.search(first), _MATRIX.search(long)
    styles = _STYLES.search(long)
    if window is None or tape is None or styles is None:
        raise ValueError("not a picture that rich drew")
    body = "\n".join([*_steady(tape[3], reel), *_moving(tape[3], reel)])
    moved = f"{first[: window.start(3)]}\n{body}\n{first[window.end(3) :]}"
    return _STYLES.sub(lambda _: styles[0] + _motion(window[2], reel), moved, count=1)


def _placed(drawn: str, reel: Reel) -> list[tuple[int, str]]:
    """Every element: the frame that it belongs to (-1: the head), moved to where it is seen."""
    found = []
    for element in _ELEMENT.findall(drawn):
        top = 20.0 if element.startswith("<text") else 1.5
        y = _Y.search(element)
        assert y is not None
        line = round((float(y[1]) - top) / LINE)
        frame = -1 if line < reel.head else (line - reel.head) // reel.lines
        if frame < reel.frames:
            up = max(0, frame) * reel.lines
            found.append((frame, _lift(element, float(y[1]), line, up)))
    return found


def _lift(element: str, y: float, line: int, up: int) -> str:
    lifted = _Y.sub(f' y="{y - up * LINE:.1f}"', element, count=1)
    return _CLIP.sub(f"line-{line - up})", lifted)


def _steady(drawn: str, reel: Reel) -> list[str]:
    """What is in the head, or the same in every frame."""
    seen: defaultdict[str, set[int]] = defaultdict(set)
    for frame, element in _placed(drawn, reel):
        seen[element].add(frame)
    return [e for e, frames in seen.items() if -1 in frames or len(frames) == reel.frames]


def _moving(drawn: str, reel: Reel) -> list[str]:
    steady = set(_steady(drawn, reel))
    parts: defaultdict[int, list[str]] = defaultdict(list)
    for frame, element in _placed(drawn, reel):
        if element not in steady:
            parts[frame].append(element)
    groups = [
        f'<g class="frame" style="animation-delay:{frame * reel.frame_s:g}s">'
        f"{''.join(parts[frame])}</g>"
        for frame in range(reel.frames - 1)
    ]
    return [*groups, f'<g class="frame last">{"".join(parts[reel.frames - 1])}</g>']


def _motion(name: str, reel: Reel) -> str:
    """Where nothing can move, the last picture stands."""
    whole_s, share = reel.frames * reel.frame_s, 100 / reel.frames
    pace = f"{whole_s:g}s step-end infinite"
    return (
        f"\n    .frame {{ visibility: hidden; animation: {name}-one {pace} }}"
        f"\n    .last {{ visibility: visible; animation: {name}-last {pace} }}"
        f"\n    @keyframes {name}-one {{ 0% {{ visibility: visible }} "
        f"{share:.9g}% {{ visibility: hidden }} }}"
        f"\n    @keyframes {name}-last {{ 0% {{ visibility: hidden }} "
        f"{100 - share:.9g}% {{ visibility: visible }} }}"
        "\n    @media (prefers-reduced-motion: reduce) { .frame { animation: none } }\n"
    )
