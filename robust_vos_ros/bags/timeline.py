"""Content of a bag for a terminal: tables, and a timeline per object."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from robust_vos_ros.bags.info import BagInfo, ObjectHistory
from robust_vos_ros.core.types import ObjectState

# Letter and colour of each state, from best to worst; without colours the letters remain. A column
# shows the worst state of its frames, so that no short loss is hidden.
_STYLES = {
    ObjectState.TRACKED: ('T', 'black on green'),
    ObjectState.INITIALIZING: ('i', 'black on cyan'),
    ObjectState.UNCERTAIN: ('u', 'black on yellow'),
    ObjectState.OCCLUDED: ('o', 'white on blue'),
    ObjectState.LOST: ('L', 'white on red'),
}
_RANK = {state: rank for rank, state in enumerate(_STYLES)}
_ABSENT = ('·', 'dim')
_TICKS = 5
_MIN_WIDTH = 20
_HEADING = '  TRACKED  confidence'  # of the numbers after each line


def render(info: BagInfo, *, width: int) -> Iterator[RenderableType]:
    """Yield the parts to print.

    Args:
        info: Content of the bag.
        width: Width of the terminal in columns.
    """
    yield _summary(info)
    yield _topics(info)
    if info.objects:
        yield from _timeline(info, width)


def _summary(info: BagInfo) -> Text:
    start = dt.datetime.fromtimestamp(info.start_ns / 1e9, tz=dt.timezone.utc)
    text = (
        f'{info.path}: {info.duration_s:.2f} s from {start:%Y-%m-%d %H:%M:%S} UTC, '
        f'{info.num_messages} messages, {info.num_bytes / 1e6:.1f} MB'
    )
    for key, value in info.custom_data.items():
        text += f'\n{key}: {value}'
    return Text(text)


def _topics(info: BagInfo) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ('topic', 'type'):
        table.add_column(name, overflow='fold')
    table.add_column('messages', justify='right')
    for topic in info.topics:
        table.add_row(topic.name, topic.msgtype, str(topic.num_messages))
    return table


def _timeline(info: BagInfo, width: int) -> Iterator[RenderableType]:
    names = [_name(item, info.objects) for item in info.objects]
    margin = max(len(name) for name in names) + 1
    columns = max(width - margin - len(_HEADING), _MIN_WIDTH)
    yield Text(' ' * (margin + columns) + _HEADING)
    for name, item in zip(names, info.objects, strict=True):
        line = Text(f'{name:{margin}}')
        for letter, style in _cells(item, info.duration_s, columns):
            line.append(letter, style)
        line.append(f'  {item.tracked_share:7.0%}  {item.mean_confidence:10.2f}')
        yield line
    for line in _axis(info.duration_s, columns):
        yield Text(' ' * margin + line)
    legend = Text(' ' * margin)
    for state, (letter, style) in _STYLES.items():
        legend.append(letter, style)
        legend.append(f' {state.name}  ')
    yield legend


def _name(item: ObjectHistory, objects: Iterable[ObjectHistory]) -> str:
    """Return the id of an object; with several nodes the topic before it."""
    if len({other.topic for other in objects}) > 1:
        return f'{item.topic} {item.object_id}'
    return item.object_id


def _cells(item: ObjectHistory, duration_s: float, columns: int) -> list[tuple[str, str]]:
    """Return letter and style of each column."""
    worst: list[ObjectState | None] = [None] * columns
    last = -1
    for sighting in item.sightings:
        column = _column(sighting.time_s, duration_s, columns)
        before = worst[column]
        if before is None or _RANK[sighting.state] > _RANK[before]:
            worst[column] = sighting.state
        last = max(last, column)
    first = _column(item.sightings[0].time_s, duration_s, columns)
    # With fewer frames than columns, a state lasts until the next one.
    for column in range(first + 1, last):
        worst[column] = worst[column - 1] if worst[column] is None else worst[column]
    return [_ABSENT if state is None else _STYLES[state] for state in worst]


def _column(time_s: float, duration_s: float, columns: int) -> int:
    return min(int(time_s / duration_s * columns), columns - 1) if duration_s > 0 else 0


def _axis(duration_s: float, columns: int) -> tuple[str, str]:
    """Return the axis: a ruler, and its numbers in seconds."""
    if duration_s <= 0:
        return '|', '0 s'
    step_s = _round_up(duration_s / _TICKS)
    ruler, numbers = ['-'] * columns, [' '] * (columns + 8)
    for index in range(int(duration_s / step_s) + 1):
        column = _column(index * step_s, duration_s, columns)
        ruler[column] = '|'
        text = f'{index * step_s:g} s'
        numbers[column : column + len(text)] = text
    return ''.join(ruler), ''.join(numbers).rstrip()


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50, ... times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value)
