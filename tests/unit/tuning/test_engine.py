"""The engine with the fifo scheduler: order, state, and what a raised numSamples does."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tune_operator.tuning.directives import Continue, Finished, Suggestion
from tune_operator.tuning.engine import Engine
from tune_operator.tuning.schedulers import build as build_scheduler
from tune_operator.tuning.search import build as build_searcher


def engine(num_samples: int = 2) -> Engine:
    space = {"g": {"gridSearch": ["a", "b"]}, "x": {"randint": {"lower": 0, "upper": 1000}}}
    return Engine(
        build_searcher(
            {"space": space}, num_samples=num_samples, metric="loss", mode="min", seed=1
        ),
        build_scheduler({"fifo": {}}, metric="loss", mode="min"),
    )


def suggestions(subject: Engine) -> list[Suggestion]:
    found = []
    while isinstance(suggestion := subject.suggest(), Suggestion):
        found.append(suggestion)
    assert suggestion == Finished()
    return found


def test_suggests_every_trial_in_order_and_then_no_more() -> None:
    subject = engine()
    found = suggestions(subject)
    assert [suggestion.trial_id for suggestion in found] == ["00000", "00001", "00002", "00003"]
    assert [suggestion.config["g"] for suggestion in found] == ["a", "b", "a", "b"]
    assert subject.suggest() == Finished()


def test_goes_on_from_its_state() -> None:
    whole, first = engine(), engine()
    first.suggest()
    first.on_result("00000", {"loss": 1.0, "training_iteration": 1})
    second = engine()
    second.load(json.loads(json.dumps(first.state())))
    assert suggestions(second) == suggestions(whole)[1:]


def test_suggests_again_when_samples_were_added() -> None:
    subject = engine(num_samples=1)
    suggestions(subject)
    larger = engine(num_samples=2)
    larger.load(subject.state())
    assert [suggestion.trial_id for suggestion in suggestions(larger)] == ["00002", "00003"]


def test_suggests_nothing_when_samples_were_taken_away() -> None:
    subject = engine(num_samples=2)
    suggestions(subject)
    smaller = engine(num_samples=1)
    smaller.load(subject.state())
    assert suggestions(smaller) == []


def test_fifo_lets_every_trial_train_to_its_end() -> None:
    subject = engine()
    subject.suggest()
    assert subject.on_result("00000", {"loss": 9.0}) == Continue()
    subject.on_complete("00000", {"loss": 9.0}, error=False)
    subject.on_complete("00001", None, error=True)
    assert subject.on_result("00002", {}) == Continue()


def test_fifo_starts_the_oldest_trial_first() -> None:
    subject = engine()
    assert subject.choose_next(["00003", "00001", "100000"]) == "00001"
    assert subject.choose_next(["100000", "99999"]) == "99999"
    assert subject.choose_next([]) is None


def test_an_unknown_scheduler_is_refused() -> None:
    with pytest.raises(ValidationError):
        build_scheduler({"unknown": {}}, metric="loss", mode="min")
