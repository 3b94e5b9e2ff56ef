"""The class API: names old and new, automatic fields, and what survives a restore."""

import os
import platform
import time
from typing import Any

import pytest

from tune_trainer import Trainable
from tune_trainer.context import TrialContext, current
from tune_trainer.progress import Progress


class Steps(Trainable):
    """Returns what its configuration lists."""

    def setup(self, config: dict[str, Any]) -> None:
        self.left = list(config["results"])
        config["results"] = "changed"  # a copy: self.config stays

    def step(self) -> dict[str, Any]:
        return dict(self.left.pop(0))


class Old(Trainable):
    """Overrides the names of older releases only."""

    def _setup(self, config: dict[str, Any]) -> None:
        self.calls = ["setup"]

    def _train(self) -> dict[str, Any]:
        self.calls.append("train")
        return {"loss": 1.0}

    def _save(self, checkpoint_dir: str) -> str:
        self.calls.append("save")
        return checkpoint_dir

    def _restore(self, checkpoint: Any) -> None:
        self.calls.append(f"restore {checkpoint}")

    def _stop(self) -> None:
        self.calls.append("stop")


def test_the_automatic_fields() -> None:
    before = int(time.time())
    trainable = Steps({"results": [{"loss": 0.5}]})
    result = trainable.train()
    assert set(result) == {
        "loss", "done", "training_iteration", "time_this_iter_s", "time_total_s",
        "time_since_restore", "iterations_since_restore", "timestamp", "date", "trial_id",
        "hostname", "node_ip", "pid", "config",
    }  # fmt: skip
    assert result["loss"] == 0.5
    assert result["done"] is False
    assert result["training_iteration"] == result["iterations_since_restore"] == 1
    assert 0 <= result["time_this_iter_s"] == result["time_total_s"] == result["time_since_restore"]
    assert before <= result["timestamp"] <= time.time()
    assert len(result["date"]) == len("2026-01-31_12-59-59")
    assert result["trial_id"] == "default"
    assert (result["pid"], result["hostname"]) == (os.getpid(), platform.node())
    assert result["node_ip"].count(".") == 3
    assert result["config"] == {"results": [{"loss": 0.5}]}


def test_what_the_user_reports_wins_where_ray_lets_it() -> None:
    reported = {
        "done": True, "time_this_iter_s": 5.0, "timestamp": 7, "timesteps_total": 99,
        "timesteps_this_iter": 3, "trial_id": "mine", "pid": -1, "time_total_s": -1,
    }  # fmt: skip
    result = Steps({"results": [reported]}).train()
    assert result["done"] is True
    assert result["time_this_iter_s"] == result["time_total_s"] == 5.0
    assert result["timestamp"] == 7
    assert result["timesteps_total"] == 99
    assert result["timesteps_since_restore"] == 3
    assert result["trial_id"] == "default"
    assert result["pid"] == os.getpid()


def test_totals_count_only_what_is_reported() -> None:
    increments = [
        {"timesteps_this_iter": 10, "episodes_this_iter": 1},
        {},
        {"timesteps_this_iter": 5},
    ]
    trainable = Steps({"results": increments})
    results = [trainable.train() for _ in increments]
    assert [result["timesteps_total"] for result in results] == [10, 10, 15]
    assert [result["episodes_total"] for result in results] == [1, 1, 1]


def test_what_survives_a_restore() -> None:
    progress = Progress()
    increments = [{"timesteps_this_iter": 10, "episodes_this_iter": 1, "time_this_iter_s": 2.0}] * 3
    train(increments, progress)
    restored = Progress()
    restored.restore(progress.to_json())
    result = train(increments[:1], restored)
    assert result["training_iteration"] == 4
    assert result["iterations_since_restore"] == 1
    assert (result["time_total_s"], result["time_since_restore"]) == (8.0, 2.0)
    assert (result["timesteps_total"], result["timesteps_since_restore"]) == (40, 10)
    assert result["episodes_total"] == 4


def train(results: list[dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """The last result of a trainable that the runner makes for trial 00007."""
    token = current.set(TrialContext("00007", progress))
    trainable = Steps({"results": results})
    current.reset(token)
    assert trainable.trial_id == "00007"
    last = [trainable.train() for _ in results][-1]
    assert trainable.iteration == trainable.training_iteration == progress.iteration
    return last


def test_an_iteration_of_the_user_s_own_must_grow() -> None:
    results: list[dict[str, Any]] = [{"training_iteration": 10}, {}, {"training_iteration": 11}]
    trainable = Steps({"results": results})
    assert trainable.train()["training_iteration"] == 10
    assert trainable.train()["training_iteration"] == 11
    with pytest.raises(ValueError, match="must grow"):
        trainable.train()


def test_a_step_must_return_a_dictionary() -> None:
    class Wrong(Trainable):
        def step(self) -> dict[str, Any]:
            return 3  # type: ignore[return-value]

    with pytest.raises(TypeError, match="must return a dict, got int"):
        Wrong().train()


def test_a_repeated_result_is_returned_as_it_is_and_not_counted() -> None:
    trainable = Steps({"results": [{}, {"__duplicate__": True}, {}]})
    assert trainable.train()["training_iteration"] == 1
    assert trainable.train() == {"__duplicate__": True}
    assert trainable.train()["training_iteration"] == 2


def test_what_else_a_trainable_has() -> None:
    class Logs(Steps):
        logged: dict[str, Any] | None = None

        def log_result(self, result: dict[str, Any]) -> None:
            self.logged = result

    trainable = Logs({"results": [{"loss": 1}]})
    result = trainable.train()
    assert trainable.logged is result
    assert trainable.get_config() is trainable.config
    assert trainable.trial_name == trainable.trial_id == "default"


def test_a_configuration_is_not_changed_unless_the_author_says_how() -> None:
    class Changes(Trainable):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

    assert Trainable().reset_config({"lr": 1}) is False
    trainable = Changes({"lr": 0})
    assert trainable.reset_config({"lr": 1}) is True
    assert trainable.config == {"lr": 1}


def test_the_old_names_work() -> None:
    old = Old({})
    assert old.train()["loss"] == 1.0
    assert old.save_checkpoint("/dir") == "/dir"
    old.load_checkpoint("/dir")
    old.cleanup()
    assert old.calls == ["setup", "train", "save", "restore /dir", "stop"]
    assert old.can_save()
    assert old.can_load()


def test_a_class_that_overrides_nothing() -> None:
    bare = Trainable()
    assert not bare.can_save()
    assert not bare.can_load()
    bare.cleanup()
    with pytest.raises(NotImplementedError, match=r"must override step\(\)"):
        bare.train()
    with pytest.raises(NotImplementedError, match="save_checkpoint"):
        bare.save_checkpoint("/dir")
    with pytest.raises(NotImplementedError, match="load_checkpoint"):
        bare.load_checkpoint("/dir")
