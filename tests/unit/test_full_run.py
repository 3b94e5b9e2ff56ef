"""Only a `make test` that ran all layers, and in which all passed, says what ran."""

import contextlib
from pathlib import Path

import pytest

from dev import test as dev_test


@pytest.mark.parametrize(
    ("layers", "failing", "left"),
    [
        (dev_test.LAYERS, "", "unit trainer exhaustive integration e2e "),
        (dev_test.LAYERS, "integration", None),
        (dev_test.LAYERS, "e2e", None),
        (dev_test.LAYERS[:1], "", "an older run"),
    ],
    ids=["all passed", "failed in the middle", "failed at the end", "one layer alone"],
)
def test_cases_are_left_by_a_full_run_alone(
    layers: tuple[dev_test.Layer, ...],
    failing: str,
    left: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases, unfinished = tmp_path / "cases.jsonl", tmp_path / "cases.unfinished"
    cases.write_text("an older run")
    unfinished.write_text("one that failed")

    def play(layer: dev_test.Layer, *, full: bool) -> tuple[int, str]:
        if full:
            with unfinished.open("a") as file:
                file.write(f"{layer.name} ")
        return (1 if layer.name == failing else 0), ""

    monkeypatch.setattr(dev_test, "CASES", cases)
    monkeypatch.setattr(dev_test, "UNFINISHED", unfinished)
    monkeypatch.setattr(dev_test, "cluster", contextlib.nullcontext)
    monkeypatch.setattr(dev_test, "pytest", play)
    assert dev_test.run(layers) == (1 if failing else 0)
    assert (cases.read_text() if cases.exists() else None) == left
