"""A folder with a short path: the path of a Unix socket ends at 107 bytes, and the one of pytest's
own folder depends on the test's name and on who runs it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's."""
    with tempfile.TemporaryDirectory(prefix="tune-") as folder:
        yield Path(folder)
