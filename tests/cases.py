"""What ran, for docs/reliability.md: a line of JSON per test that passed, with its number of cases.

A property or a state machine is as many cases as it had examples; any other test is one.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

FILE = os.environ.get("TUNE_CASES", "")
_PASSING = re.compile(r"(\d+) passing")


def ran(test: str, cases: int = 1) -> None:
    """Note it in the file that TUNE_CASES names. Short lines, so that parallel writers may mix."""
    if FILE:
        with Path(FILE).open("a") as file:
            file.write(json.dumps({"test": test, "cases": cases}) + "\n")


def examples(item: Any) -> int:
    """Examples of the test's property, 1 if it is none."""
    statistics = getattr(item, "hypothesis_statistics", "")
    return sum(map(int, _PASSING.findall(statistics))) or 1
