"""What tuning refuses."""

from __future__ import annotations

from collections.abc import Iterable


class SearchSpaceError(ValueError):
    """A search section nobody can sample from.

    ``path`` is relative to the section, such as ``space.lr.uniform.upper``; ``message`` says what
    is wrong and what to do.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


class MissingMetricError(ValueError):
    """A result lacks a key that decisions need, and ``objective.strict`` is not false."""

    def __init__(self, trial_id: str, missing: Iterable[str], seen: Iterable[str]) -> None:
        names = ", ".join(missing)
        super().__init__(
            f"trial {trial_id} reported no {names}; its result has {', '.join(sorted(seen))}: "
            "report it with every result, or set objective.strict to false"
        )
