"""Options of the demo, and parsing of boxes and clicks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from robust_vos_ros.core.errors import ConfigError

_NUM_BOX = 4


@dataclasses.dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the demo.

    Attributes:
        video: Video file to play; None = a generated clip.
        box: Box around an object in the first frame of the video, 'x0,y0,x1,y1' in pixels.
        clicks: Clicks on another object, 'x,y;x,y' in pixels; 'x,y,0' is a click beside it.
        out: Folder for the results.
        rate_hz: Images per second of the camera.
        model: Model of the node.
        max_frames: Most images of a clip.
        compressed: Send JPEG images instead of raw ones.
        weather: Corruption of the node's images (debug.corruption). With a corruption there are
            two runs, without and with the adapter, shown side by side.
        severity: Of the corruption, 0 to 5.
        adapter: Of the node (model.adapter).
        depth: Also send the true depth of the generated clip, and compare positions.
    """

    video: Path | None = None
    box: str = ''
    clicks: str = ''
    out: Path = Path('out/demo')
    rate_hz: float = 15.0
    model: str = 'nano'
    max_frames: int = 300
    compressed: bool = False
    weather: str = 'none'
    severity: float = 4.0
    adapter: str = 'auto'
    depth: bool = False


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Parse 'x0,y0,x1,y1'.

    Raises:
        ConfigError: It is something else.
    """
    values = _parse_numbers(text)
    if len(values) != _NUM_BOX:
        raise ConfigError(f'expected --box x0,y0,x1,y1 with four numbers (pixels), got {text!r}')
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1


def parse_clicks(text: str) -> tuple[tuple[float, float, int], ...]:
    """Parse 'x,y;x,y' with an optional third number, 1 on the object and 0 beside it.

    Raises:
        ConfigError: It is something else.
    """
    clicks = []
    for part in text.split(';'):
        values = _parse_numbers(part)
        if len(values) not in {2, 3} or (len(values) == 3 and values[2] not in {0, 1}):
            raise ConfigError(
                'expected --clicks "x,y;x,y" in pixels, with x,y,0 for a click beside the object, '
                f'got {text!r}'
            )
        clicks.append((values[0], values[1], int(values[2]) if len(values) == 3 else 1))
    return tuple(clicks)


def _parse_numbers(text: str) -> list[float]:
    """Return the numbers of a list separated by commas; empty if one is not a number."""
    try:
        return [float(part) for part in text.split(',')]
    except ValueError:
        return []
