"""Pictures of a terminal as one that moves: at each time it shows what that picture showed."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tools.recording import Reel, recording

FRAMES = (["price 1 up", "MSFT"], ["price 2 down", "MSFT"], ["price 3 up", "MSFT"])
TEXT = re.compile(r'<text [^>]* y="([\d.]+)"[^>]*>([^<]*)</text>')


def draw(*frames: list[str]) -> str:
    paper = Console(record=True, width=40, file=io.StringIO(), force_terminal=True)
    paper.print("$ make demo", style="bold")
    for number, frame in enumerate(frames):
        paper.print(frame[0], style="green" if number % 2 else "red", highlight=False)
        paper.print(frame[1])
    return paper.export_svg(title="t", unique_id="t")


@pytest.fixture(scope="module")
def moving() -> str:
    reel = Reel(head=1, lines=2, frames=3, frame_s=0.5)
    return recording(draw(FRAMES[0]), draw(*FRAMES), reel)


def words(drawn: str) -> list[str]:
    """The lines of text, from the top."""
    found = sorted(
        (float(y), text.replace("&#160;", " ").strip()) for y, text in TEXT.findall(drawn)
    )
    return [text for _, text in found if text]


def at_frame(moving: str, number: int) -> list[str]:
    groups = re.findall(r'<g class="frame[^>]*>.*?</g>', moving, re.DOTALL)
    steady = moving
    for group in groups:
        steady = steady.replace(group, "")
    matrix = steady[steady.index("t-matrix") :]
    return words(matrix + groups[number])


@pytest.mark.parametrize("number", range(3))
def test_at_its_time_a_frame_shows_what_its_picture_showed(moving: str, number: int) -> None:
    picture = draw(FRAMES[number])
    assert at_frame(moving, number) == words(picture[picture.index("t-matrix") :])


def test_what_does_not_change_is_there_once(moving: str) -> None:
    assert len(re.findall("MSFT", moving)) == 1
    assert len(re.findall(r"make.*demo", moving)) == 1


def test_colours_are_the_same_in_every_frame(moving: str) -> None:
    style = dict(re.findall(r"\.(t-r\d+) \{ fill: (#\w+)", moving))
    shown = re.findall(r'<text class="(t-r\d+)"[^>]*>price&#160;\d', moving)
    assert len({style[name] for name in shown}) == 2
    assert style[shown[0]] == style[shown[2]] != style[shown[1]]


def test_every_frame_has_its_time_and_the_last_stands_where_nothing_moves(moving: str) -> None:
    assert re.findall(r"animation-delay:([\d.]+)s", moving) == ["0", "0.5"]
    assert '<g class="frame last">' in moving
    assert "animation: t-one 1.5s" in moving
    assert ".last { visibility: visible" in moving
    assert "prefers-reduced-motion" in moving


def test_what_rich_did_not_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="rich"):
        recording("<svg/>", "<svg/>", Reel(head=1, lines=1, frames=1, frame_s=1))
