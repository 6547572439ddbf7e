"""A prompt file that is changed one prompt at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from robust_vos_ros.bags.prompts import PromptEntry, PromptFile, load_prompt_file, make_plan
from robust_vos_ros.core.errors import ConfigError, PromptError
from robust_vos_ros.core.settings import Scale16Settings, parse_settings
from robust_vos_ros.files import replace_file


@dataclasses.dataclass(frozen=True, slots=True)
class NumberedEntry:
    """A prompt with a number that is not given to another one."""

    number: int
    entry: PromptEntry


class PromptBook:
    """The prompts of a file for `robust-vos bag process`, which is written after each change.

    A change that would make the prompts unusable is refused. A file that someone else wrote is
    copied to NAME.bak before it is written for the first time: comments are not kept.

    Args:
        path: The prompt file; it is made by the first change if it does not exist.
        num_frames: Number of images in the bag.
        frame_of: Index of the image by stamp in nanoseconds.

    Raises:
        ConfigError, PromptError: The file exists, and cannot be used for this bag.
    """

    def __init__(self, path: Path, *, num_frames: int, frame_of: Mapping[int, int]) -> None:
        self.path = path
        self._num_frames, self._frame_of = num_frames, frame_of
        self._file = PromptFile(prompts=[])
        self._entries: list[NumberedEntry] = []
        self._next = 1
        self._text = self._read_text()
        if self._text is not None:
            self._file = load_prompt_file(path)
            self._entries = [NumberedEntry(self._take(), item) for item in self._file.prompts]
            self._check(self._entries)
        elif not path.parent.is_dir():
            raise ConfigError(
                f'{path}: expected an existing folder for the prompts; make it first'
            )

    @property
    def entries(self) -> tuple[NumberedEntry, ...]:
        """All prompts, in the order of the file."""
        return tuple(self._entries)

    @property
    def scale_16bit(self) -> Scale16Settings:
        """How 16-bit images become 8-bit ones, as the file says."""
        return self._file.scale_16bit

    def index_of(self, entry: PromptEntry) -> int | None:
        """Return the index of the image of a prompt; None for a folder of masks."""
        if entry.stamp_ns is not None:
            return self._frame_of.get(entry.stamp_ns)
        return entry.frame

    def add(self, fields: dict[str, Any]) -> NumberedEntry:
        """Add a prompt.

        Args:
            fields: Of PromptEntry.

        Raises:
            PromptError: The prompt does not fit to the others.
            ConfigError: The file cannot be written.
        """
        added = NumberedEntry(self._next, parse_settings(PromptEntry, fields))
        self._change([*self._entries, added])
        return NumberedEntry(self._take(), added.entry)

    def delete(self, number: int) -> None:
        """Delete a prompt; errors as in `add`."""
        left = [item for item in self._entries if item.number != number]
        if len(left) == len(self._entries):
            raise PromptError(f'there is no prompt number {number} any more')
        self._change(left)

    def clear(self) -> None:
        """Delete all prompts; errors as in `add`."""
        self._change([])

    def _take(self) -> int:
        self._next += 1
        return self._next - 1

    def _check(self, entries: list[NumberedEntry]) -> None:
        if entries:
            file = self._file.model_copy(update={'prompts': [item.entry for item in entries]})
            make_plan(file, self.path.parent, num_frames=self._num_frames, frame_of=self._frame_of)

    def _change(self, entries: list[NumberedEntry]) -> None:
        self._check(entries)
        before = self._read_text()
        if before != self._text:
            raise ConfigError(
                f'{self.path} was changed by another program, so nothing was written; start the '
                'console again'
            )
        file = self._file.model_copy(update={'prompts': [item.entry for item in entries]})
        try:
            if before is not None and before != dump_prompts(self._file):
                self.path.with_name(f'{self.path.name}.bak').write_text(before, encoding='utf-8')
            text = dump_prompts(file)
            replace_file(self.path, lambda new: new.write_text(text, encoding='utf-8'))
        except OSError as error:
            raise ConfigError(f'{self.path}: cannot be written: {error.strerror}') from error
        self._file, self._entries, self._text = file, entries, text

    def _read_text(self) -> str | None:
        """Return the content of the file, None if it does not exist."""
        try:
            return self.path.read_text(encoding='utf-8')
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f'{self.path}: cannot be read: {error}') from error


def dump_prompts(file: PromptFile) -> str:
    """Return a prompt file as YAML, without values that are the defaults."""
    content = file.model_dump(mode='json', exclude_defaults=True)
    content.setdefault('prompts', [])
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True)
