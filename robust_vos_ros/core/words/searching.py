"""The searches of a stream that last."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from robust_vos_ros.core.words.search import Search, nothing_like


class Searches:
    """Searches that last, by object id or expression."""

    def __init__(self) -> None:
        self._lasting: dict[str, Search] = {}

    @property
    def lasting(self) -> tuple[Search, ...]:
        """The searches."""
        return tuple(self._lasting.values())

    def keep(self, search: Search) -> str:
        """Keep a search, in place of one for the same object or expression; returns a sentence."""
        self._lasting[search.object_id or f'"{search.text}"'] = search
        what = repr(search.object_id) if search.object_id else 'it'
        return f'{nothing_like(search.text)}; {what} is added when it is found'

    def restore(self, searches: Iterable[Search]) -> None:
        """Keep saved searches in place of the present ones."""
        self._lasting = {}
        for search in searches:
            self.keep(search)

    def stop(self, name: str) -> None:
        """End the search for an object id or an expression, if there is one."""
        for key in (name, f'"{name}"'):
            self._lasting.pop(key, None)

    def end_for(self, object_ids: Iterable[str]) -> None:
        """End the searches for ids that were given to objects."""
        for object_id in object_ids:
            self._lasting.pop(object_id, None)

    def clear(self) -> None:
        """End all searches."""
        self._lasting.clear()

    def stop_for(self, names: Sequence[str], live: Collection[str]) -> list[str]:
        """End the searches for some ids; returns the ids that are those of objects.

        If an id belongs to neither a search nor an object, nothing ends and all are returned: the
        caller refuses them.

        Args:
            names: Of searches or objects.
            live: Ids of all objects.
        """
        searched = {name for name in names if name in self._lasting and name not in live}
        if any(name not in live and name not in searched for name in names):
            return list(names)
        for name in searched:
            del self._lasting[name]
        return [name for name in names if name in live]

    def longest_waiting(self, stamp_ns: int, interval_s: float) -> Search | None:
        """Return the search that waited longest since it looked, if it waited long enough."""
        due = [
            search
            for search in self._lasting.values()
            if abs(stamp_ns - search.looked_ns) >= interval_s * 1e9
        ]
        return min(due, key=lambda one: one.looked_ns, default=None)

    def note(self, search: Search, num_added: int) -> None:
        """Note the number of objects that a search added; it ends when it wants no more."""
        search.room -= num_added
        if search.room <= 0 or (num_added and not search.keep):
            self.stop(search.object_id or search.text)
