"""What the demo makes of a status, and when it refuses to start on somebody's cluster."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dev.demo.errors import StepFailed
from dev.demo.eviction import resumed_at
from dev.demo.screen import Screen, parameters
from dev.demo.shell import Shell
from dev.demo.target import images_from
from dev.demo.view import Experiment, candidate
from tune_operator.lifecycle.events import start_events
from tune_operator.lifecycle.trial_state import TrialState
from tune_trainer.protocol.keys import CheckpointRef


def trial(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "state": "Running", "attempt": 1, "params": {"lr": 0.01}, **fields}


def experiment(*trials: dict[str, Any], conditions: tuple[dict[str, Any], ...] = ()) -> Experiment:
    status = {"state": "Running", "done": "0/8", "trials": trials, "conditions": conditions}
    return Experiment.of({"metadata": {"name": "digits", "uid": "u"}, "status": status})


def saved(iteration: int, attempt: int = 1) -> dict[str, Any]:
    return {"iteration": iteration, "attempt": attempt}


def test_an_object_without_status_is_an_experiment_without_trials() -> None:
    fresh = Experiment.of({"metadata": {"name": "digits", "uid": "u"}})
    assert fresh.trials == ()
    assert fresh.trouble == ""


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([trial("00000", iteration=3)], None),
        ([trial("00000", iteration=6, checkpoint=saved(5))], "00000"),
        ([trial("00000", iteration=26, checkpoint=saved(25))], None),
        ([trial("00000", attempt=2, iteration=6, checkpoint=saved(5))], None),
        ([trial("00000", state="Terminated", iteration=6, checkpoint=saved(5))], None),
        (
            [
                trial("00000", iteration=14, checkpoint=saved(10)),
                trial("00001", iteration=6, checkpoint=saved(5)),
            ],
            "00001",
        ),
    ],
    ids=["nothing saved", "saved", "nearly done", "saved by an older attempt", "ended", "earliest"],
)
def test_candidate_for_the_eviction(trials: list[dict[str, Any]], expected: str | None) -> None:
    chosen = candidate(experiment(*trials), last_iteration=30)
    assert (chosen.name if chosen else None) == expected


@pytest.mark.parametrize(
    ("condition", "trouble"),
    [
        (
            {
                "type": "Accepted",
                "status": "False",
                "reason": "Invalid",
                "message": "spec.x: wrong",
            },
            "not accepted: Invalid: spec.x: wrong",
        ),
        (
            {
                "type": "Failed",
                "status": "True",
                "reason": "TrialsErrored",
                "message": "all of them",
            },
            "failed: TrialsErrored: all of them",
        ),
        ({"type": "Complete", "status": "True", "reason": "Completed", "message": ""}, ""),
    ],
    ids=["refused", "failed", "complete"],
)
def test_trouble_is_what_the_operator_says(condition: dict[str, Any], trouble: str) -> None:
    assert experiment(conditions=(condition,)).trouble == trouble


def test_without_a_terminal_each_change_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    first = experiment(trial("00000", iteration=1), trial("00001", attempt=0, state="Pending"))
    with screen.table():
        screen.trials(first)
        screen.trials(first)
        screen.trials(
            experiment(trial("00000", iteration=6, objectiveValue=0.5, checkpoint=saved(5)))
        )
    assert capsys.readouterr().out.splitlines() == [
        "   trial 00000  Running attempt 1 iteration 1 value - checkpoint - lr=0.01",
        "   trial 00000  Running attempt 1 iteration 6 value 0.5000 checkpoint at 5 lr=0.01",
    ]


@pytest.mark.parametrize(
    ("message", "start"),
    [
        ("trial 00000 resumed as attempt 2 from the checkpoint of iteration 10", 10),
        ("trial 00000 resumed as attempt 1 from the checkpoint of iteration 10", None),
        ("trial 00001 resumed as attempt 2 from the checkpoint of iteration 10", None),
        ("trial 00000 resumed as attempt 2 from scratch, there was no checkpoint yet", None),
    ],
    ids=["this attempt", "an earlier one", "another trial", "from scratch"],
)
def test_where_a_trial_went_on_is_what_the_event_says(message: str, start: int | None) -> None:
    (resumed,) = experiment(trial("00000", attempt=2)).trials
    assert resumed_at(message, resumed) == start


def test_the_operator_words_that_event_as_the_demo_reads_it() -> None:
    before = TrialState("00000", attempt=1)
    begun = replace(before, attempt=2, iteration=10, plan=(CheckpointRef(1, 10),))
    (event,) = start_events(before, begun)
    (resumed,) = experiment(trial("00000", attempt=2)).trials
    assert resumed_at(event.message, resumed) == 10


def test_parameters_are_one_line() -> None:
    assert parameters({"lr": 0.012345678, "act": "tanh"}) == "act=tanh lr=0.01235"


def test_another_cluster_needs_images_it_can_pull() -> None:
    with pytest.raises(StepFailed, match="IMAGE_DIGITS"):
        images_from({"IMAGE_OPERATOR": "ghcr.io/example/tune-operator:1"})


def test_failed_command_says_which_and_why(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "demo.log", {"PATH": "/usr/bin:/bin"})
    with pytest.raises(StepFailed, match=r"`sh -c .*`: no such thing"):
        shell.run("sh", "-c", "echo no such thing >&2; exit 3")
    assert "no such thing" in shell.log.read_text()


def test_missing_command_and_silent_command_are_told_apart(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "demo.log", {"PATH": "/usr/bin:/bin"})
    with pytest.raises(StepFailed, match="not installed"):
        shell.run("no-such-command")
    with pytest.raises(StepFailed, match="no answer within 0 s"):
        shell.run("tail", "-f", "/dev/null", seconds=0.1)
