"""The API server's audit log: what was asked of it, and how it answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def events(log: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """Every request after so many bytes, oldest first; a line still being written is left out."""
    with log.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)
