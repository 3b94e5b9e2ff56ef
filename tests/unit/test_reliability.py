"""The promises name tests that exist, and the page that people read names the same ones."""

import re
from pathlib import Path

import pytest

from dev.promises import PROMISES
from dev.reliability import BEGIN, END, PAGE

ROOT = Path(__file__).parents[2]
NAMED = sorted({test for promise in PROMISES for test in promise.tests})


@pytest.mark.parametrize("test", NAMED)
def test_a_test_that_proves_a_promise_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert (ROOT / path).exists()
    if name:
        assert re.search(rf"def {name}\(", (ROOT / path).read_text())


def test_the_page_was_written_from_these_promises() -> None:
    generated = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    for promise in PROMISES:
        (line,) = [row for row in generated.splitlines() if row.startswith(f"| {promise.name} |")]
        assert promise.text in line, "run make test and make reliability"
        assert all(f"`{test.removeprefix('tests/')}`" in line for test in promise.tests)
        assert int(line.split("|")[-2].strip().replace(",", "")) > 0
