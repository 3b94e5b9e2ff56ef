"""What tuning refuses."""

from __future__ import annotations


class SearchSpaceError(ValueError):
    """A search section nobody can sample from.

    ``path`` is relative to the section, such as ``space.lr.uniform.upper``; ``message`` says what
    is wrong and what to do.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message
