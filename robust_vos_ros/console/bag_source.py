"""A bag as the source of a console: its images, results and prompts; imports no ROS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from robust_vos_ros.bags.prompt_book import NumberedEntry, PromptBook
from robust_vos_ros.bags.seeking import SeekableBag
from robust_vos_ros.console import protocol, views
from robust_vos_ros.console.mailbox import Mailbox
from robust_vos_ros.console.pictures import make_picture
from robust_vos_ros.console.preview import Previewer
from robust_vos_ros.console.settings import PageSettings
from robust_vos_ros.console.source import POLL_S, RefusalError, Stamp
from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.prompting.prompts import check_prompt
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.core.words.search import new_id
from robust_vos_ros.ros_types.images import FULL_RANGE, NS_PER_S, to_frame

_NO_FILE = (
    'the console was started without a file for prompts, so none can be saved; start it with '
    '--prompts FILE'
)


class BagSource:
    """Shows a bag; each browser sees the image that it asks for. Prompts are written to a file.

    Args:
        name: Of the bag, as browsers see it.
        bag: Its frames.
        settings: Of the page.
        book: Prompts of the bag; None = prompts cannot be saved.
        previewer: Segments prompts.
    """

    def __init__(
        self,
        name: str,
        bag: SeekableBag,
        settings: PageSettings,
        *,
        book: PromptBook | None,
        previewer: Previewer,
    ) -> None:
        self._name, self._bag, self._settings = name, bag, settings
        self._book, self._previewer = book, previewer
        self._scale_16bit = FULL_RANGE if book is None else book.scale_16bit
        self._shown: dict[Mailbox, int] = {}  # index of the newest image of each browser
        self._timeline = make_timeline(bag)
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Load the model; send the state, by which pages know that the console works."""
        loading = asyncio.create_task(asyncio.to_thread(self._load))
        try:
            await self._send_states()
        finally:
            await loading

    def _load(self) -> None:
        """Load the model before the first preview, which reports errors."""
        with contextlib.suppress(RobustVosError):
            self._previewer.warm_up()

    async def _send_states(self) -> None:
        while True:
            for mailbox in self._shown:
                mailbox.put_state(self._status())
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Do nothing: who opened the bag closes it."""

    async def watch(self, mailbox: Mailbox, _name: str = '') -> None:
        """Send the time line and the prompts, whatever the name; the browser asks for images."""
        self._shown.setdefault(mailbox, 0)
        names = {'nodes': [self._name], 'node': self._name}
        mailbox.put_state({'type': 'nodes', 'is_bag': True, **names})
        mailbox.put_state(self._status())
        mailbox.put_state(self._timeline)
        mailbox.put_state(self._prompts())

    def leave(self, mailbox: Mailbox) -> None:
        """Forget a browser."""
        self._shown.pop(mailbox, None)

    def freeze(self, mailbox: Mailbox, stamp: Stamp) -> None:
        """Do nothing: a bag forgets no image."""

    async def do(self, mailbox: Mailbox, command: Any) -> dict[str, Any]:
        """Execute a command; returns its result.

        Raises:
            RefusalError: There is no file for prompts, or no such image.
            BagError, ConfigError, ImageError, PromptError: Bag, file or prompt cannot be used.
        """
        if isinstance(command, protocol.Watch):
            await self.watch(mailbox)
            return {}
        if isinstance(command, protocol.Seek):
            mailbox.put_frame(await asyncio.to_thread(self._make_frame, command.index))
            if mailbox in self._shown:  # it may have left meanwhile
                self._shown[mailbox] = command.index
            return {}
        if isinstance(command, protocol.Preview):
            index = self._index_of(mailbox, command.stamp)
            return await asyncio.to_thread(self._preview, index, _to_prompt(command, 'preview'))
        return await self._edit(mailbox, command)

    async def _edit(self, mailbox: Mailbox, command: Any) -> dict[str, Any]:
        """Change the prompts."""
        book = self._book
        if book is None:
            raise RefusalError('BAD_MESSAGE', _NO_FILE)
        async with self._writing:
            if isinstance(command, protocol.Reset):
                result = await asyncio.to_thread(book.clear)
            elif isinstance(command, protocol.Delete):
                result = await asyncio.to_thread(book.delete, command.number)
            else:
                if command.stamp is None:
                    raise RefusalError('BAD_MESSAGE', 'expected the stamp of an image')
                index = self._index_of(mailbox, command.stamp)
                result = await asyncio.to_thread(self._add, book, index, command)
        prompts = self._prompts()
        for each in self._shown:
            each.put_state(prompts)
        saved = f'saved in {book.path}'
        return {'message': saved, **({} if result is None else {'number': result.number})}

    def _add(self, book: PromptBook, index: int, command: Any) -> NumberedEntry:
        fields: dict[str, Any] = {'frame': index}
        if isinstance(command, protocol.Remove):
            if len(command.object_ids) != 1:
                raise RefusalError('BAD_MESSAGE', 'expected one object to remove from a bag')
            return book.add({**fields, 'action': 'remove', 'object_id': command.object_ids[0]})
        if isinstance(command, protocol.Find):
            text = self._previewer.check_words(command.text)
            name = new_id(text, {item.entry.object_id for item in book.entries})
            return book.add({**fields, 'object_id': name, 'class_id': text, 'text': text})
        if command.has_marks:
            prompt = _to_prompt(command, command.object_id)
            frame = to_frame(self._bag.frame(index).image, self._scale_16bit)
            check_prompt(prompt, frame.size_hw)
        if isinstance(command, protocol.Refine):
            fields['action'] = 'refine'
        fields |= {'object_id': command.object_id, 'class_id': command.class_id}
        labels = [label for _, _, label in command.points]
        fields['points'] = [(x, y) for x, y, _ in command.points]
        return book.add(
            {**fields, 'box': command.box, 'point_labels': [] if all(labels) else labels}
        )

    def _preview(self, index: int, prompt: Prompt) -> dict[str, Any]:
        frame = to_frame(self._bag.frame(index).image, self._scale_16bit)
        return self._previewer.preview(frame, prompt)

    def _make_frame(self, index: int) -> bytes:
        stored, settings = self._bag.frame(index), self._settings
        picture = make_picture(
            stored.image, max_width=settings.picture_width, quality=settings.jpeg_quality
        )
        stamp = list(_split(self._bag.stamps_ns[index]))
        head = views.to_frame(stored.array, stored.labels, stamp=stamp, size=picture.size)
        head |= {'node': self._name, 'index': index}
        return views.pack(head, picture.data)

    def _index_of(self, mailbox: Mailbox, stamp: Stamp) -> int:
        """Return the index of an image: several may have one stamp, then the one that is shown."""
        stamp_ns = stamp[0] * NS_PER_S + stamp[1]
        shown = self._shown.get(mailbox, 0)
        if self._bag.stamps_ns[shown] == stamp_ns:
            return shown
        if stamp_ns not in self._bag.frame_of:
            raise RefusalError('STAMP_UNKNOWN', f'no image of the bag has the stamp {stamp_ns} ns')
        return self._bag.frame_of[stamp_ns]

    def _status(self) -> dict[str, Any]:
        return {
            'type': 'status',
            'node': self._name,
            'present': True,
            'silent': False,
            'buffer_s': None,
            'no_words': _NO_FILE if self._book is None else '',
            'level': 'OK',
            'message': f'{len(self._bag.stamps_ns)} images on {self._bag.topic}',
            'values': {},
        }

    def _prompts(self) -> dict[str, Any]:
        book = self._book
        items = [] if book is None else [to_item(item, book.index_of) for item in book.entries]
        file = None if book is None else str(book.path)
        return {'type': 'prompts', 'file': file, 'prompts': items}


def make_timeline(bag: SeekableBag) -> dict[str, Any]:
    """Return the times of all images, and the states of all objects over them."""
    start_ns = min(bag.times_ns)
    return {
        'type': 'timeline',
        'times_ms': [round((time_ns - start_ns) / 1e6) for time_ns in bag.times_ns],
        'objects': [
            {
                'id': item.object_id,
                'class': item.class_id,
                'color': views.color_of(item.label),
                'spans': [[span.first, span.last, span.state.name] for span in item.spans],
            }
            for item in bag.objects.values()
        ],
    }


def to_item(item: NumberedEntry, index_of: Callable[[Any], int | None]) -> dict[str, Any]:
    """Return a prompt for the page."""
    entry = item.entry
    labels = entry.point_labels or [1] * len(entry.points)
    return {
        'number': item.number,
        'index': index_of(entry),
        'action': entry.action,
        'id': entry.object_id,
        'class': entry.class_id,
        'box': None if entry.box is None else list(entry.box),
        'points': [[x, y, label] for (x, y), label in zip(entry.points, labels, strict=False)],
        'mask': str(entry.mask or entry.masks or ''),
        'text': entry.text,
    }


def _to_prompt(command: Any, object_id: str) -> Prompt:
    return Prompt(
        object_id=object_id,
        points=np.array([(x, y) for x, y, _ in command.points], np.float32).reshape(-1, 2),
        point_labels=np.array([label for _, _, label in command.points], np.int32),
        box=None if command.box is None else np.array(command.box, np.float32),
        class_id=getattr(command, 'class_id', ''),
    )


def _split(stamp_ns: int) -> Stamp:
    return divmod(stamp_ns, NS_PER_S)
