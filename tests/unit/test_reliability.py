"""The promises name tests that exist and ran, and the page that people read says the same."""

import re
from collections import Counter
from pathlib import Path

import pytest

from dev import reliability
from dev.promises import PROMISES
from dev.reliability import BEGIN, END, PAGE, TAKEN_AWAY
from tests.model.mutations import MUTATIONS

ROOT = Path(__file__).parents[2]
NAMED = sorted({test for promise in PROMISES for test in promise.tests})
COUNT = re.compile(r"\| ([\d,]+) \|$", re.MULTILINE)


def all_passed() -> Counter[str]:
    rules = [f"{TAKEN_AWAY}[{mutation.name}]" for mutation in MUTATIONS]
    return Counter([*NAMED, *rules])


@pytest.mark.parametrize("test", [*NAMED, TAKEN_AWAY])
def test_a_test_that_proves_something_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert (ROOT / path).exists()
    if name:
        function, _, _ = name.partition("[")
        assert re.search(rf"def {function}\(", (ROOT / path).read_text())


def test_the_page_was_written_from_these_promises_and_rules() -> None:
    generated = PAGE.read_text().split(BEGIN)[1].split(END)[0].strip()
    expected = reliability.tables(all_passed())
    remedy = "run make test and make reliability"
    assert COUNT.sub("| n |", generated) == COUNT.sub("| n |", expected), remedy
    counts = [int(count.replace(",", "")) for count in COUNT.findall(generated)]
    assert len(counts) == len(PROMISES)
    assert min(counts) > 0


def test_what_all_passed_leaves_nothing_unproven() -> None:
    assert reliability.unproven(all_passed()) == []


@pytest.mark.parametrize("test", sorted(all_passed()))
def test_a_test_that_did_not_run_is_an_error(
    test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = [each for each in all_passed() if not each.startswith(test)]
    cases = tmp_path / "cases.jsonl"
    cases.write_text("".join(f'{{"test": "{each}", "cases": 1}}\n' for each in ran))
    monkeypatch.setattr(reliability, "CASES", cases)
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "is not touched")
    assert reliability.main([]) == 1
    assert test in capsys.readouterr().out
