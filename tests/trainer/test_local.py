"""``--local`` as a process: one trial in a folder, killed and gone on with, and how it shows."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.laptop import Laptop
from tests.unit.trainer.operator_server import WAIT
from tests.unit.trainer.process import TRAINABLES, Gate, interrupt, values
from tests.unit.trainer.terminal import Terminal
from tune_trainer.local import main as local
from tune_trainer.protocol.exit_record import Outcome

START = ("counting:Count", "--config", '{"start": 0}', "--metric", "value")


def gated(gate: Gate) -> tuple[str, ...]:
    return ("counting:Count", "--config", json.dumps(gate.config), "--metric", "value")


def test_a_trial_trains_to_its_end_in_a_folder(laptop: Laptop) -> None:
    code, stdout, stderr = laptop.run(
        *START, "--stop", "training_iteration=10", "--checkpoint-frequency", "4",
        "--checkpoint-at-end",
    )  # fmt: skip
    assert code == 0, stderr
    assert list(laptop.results(1).items()) == list(enumerate(values(10), 1))
    assert laptop.record(1).reason == "StoppedByCriteria"
    assert "Completed at iteration 10: training_iteration 10 >= 10" in stdout
    assert f"best value: {values(10)[-1]:.6g} at iteration 10" in stdout
    [place] = re.findall(r"newest checkpoint: (.+)", stdout)
    state = json.loads(Path(laptop.folder, place, "tune_state.json").read_text())
    assert state == {"value": values(10)[-1]}
    assert "to go on" not in stdout
    assert "iteration 10/10" in stderr
    assert "\x1b" not in stderr
    assert {path.name for path in laptop.folder.iterdir()} == {"store"}  # nothing is left in /tmp


def test_killed_and_resumed_equals_undisturbed(laptop: Laptop, gate: Gate) -> None:
    process = laptop.start(
        *gated(gate), "--stop", "training_iteration=10", "--checkpoint-frequency", "2"
    )
    gate.open(1, 2, 3)
    laptop.wait_until(lambda: gate.has_begun(4) and laptop.saved() == ["1-2"])
    gate.open(4, 5)
    laptop.wait_until(lambda: gate.has_begun(6) and 5 in laptop.results(1))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=WAIT)

    gate.open_all()
    saved = laptop.saved()  # the save of iteration 4 may have found the other's upload still busy
    newest = int(saved[-1].partition("-")[2])
    assert newest in {2, 4}
    code, _, stderr = laptop.run("counting:Count", "--resume")
    assert code == 0, stderr
    assert f"restored checkpoint 1-{newest} " in stderr
    assert list(laptop.results(1).items()) == list(enumerate(values(5), 1))
    assert list(laptop.results(2).items()) == list(enumerate(values(10), 1))[newest:]
    assert (laptop.record(2).outcome, laptop.record(2).attempt) == (Outcome.COMPLETED, 2)
    assert laptop.saved()[: len(saved) + 1] == [*saved, f"2-{newest + 2}"]


def test_an_interrupted_trial_goes_on_with_a_later_end(laptop: Laptop, gate: Gate) -> None:
    process = laptop.start(*gated(gate), "--stop", "training_iteration=5")
    gate.open(1)
    laptop.wait_until(lambda: gate.has_begun(2))
    interrupt(process)
    gate.open(2)
    stdout, stderr = process.communicate(timeout=WAIT)
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert "Interrupted at iteration 2" in stdout
    [again] = re.findall(r"to go on: python (.+)", stdout)
    gate.open_all()
    resumed = subprocess.run(
        [sys.executable, *again.split(), "--stop", "training_iteration=7"],
        env=laptop.environ, cwd=laptop.folder, capture_output=True, text=True, timeout=WAIT,
        check=True,
    )  # fmt: skip
    assert "Completed at iteration 7" in resumed.stdout
    assert laptop.results(1) | laptop.results(2) == dict(enumerate(values(7), 1))


def test_a_torn_checkpoint_is_passed_over(laptop: Laptop) -> None:
    code, _, stderr = laptop.run(
        *START, "--stop", "training_iteration=2", "--checkpoint-frequency", "1",
        "--checkpoint-at-end",
    )  # fmt: skip
    assert code == 0, stderr
    assert laptop.saved() == ["1-1", "1-2"]
    [data] = (laptop.run_folder / "t/00000/d").glob("00001-0000000002-*/tune_state.json")
    data.write_bytes(data.read_bytes()[:-1])
    code, _, stderr = laptop.run("counting:Count", "--resume", "--stop", "training_iteration=3")
    assert code == 0, stderr
    assert "checkpoint 1-2 is not valid" in stderr
    assert "restored checkpoint 1-1" in stderr
    assert laptop.results(2) == {2: values(3)[1], 3: values(3)[2]}


def test_a_run_is_trained_by_one_process(laptop: Laptop, gate: Gate) -> None:
    laptop.start(*gated(gate), "--checkpoint-frequency", "1")
    gate.open(1)
    laptop.wait_until(lambda: gate.has_begun(2) and laptop.saved() == ["1-1"])
    code, _, stderr = laptop.run("counting:Count", "--resume")
    assert code == 2
    assert "another process trains the run" in stderr


def test_a_failure_says_what_failed(laptop: Laptop) -> None:
    code, stdout, stderr = laptop.run("counting:Raises", "--config", '{"start": 0}')
    assert code == 1
    assert "Failed at iteration 2: ValueError: the loss is gone" in stdout
    assert "counting.py" in stderr


def test_a_terminal_shows_a_bar_and_interrupts(laptop: Laptop, gate: Gate) -> None:
    command = laptop.command(*gated(gate), "--stop", "training_iteration=4")
    terminal = Terminal(command, laptop.environ | {"COLUMNS": "80"}, str(laptop.folder))
    try:
        gate.open(1, 2)
        laptop.wait_until(lambda: "[##########..........] iteration 2/4" in terminal.shown)
        laptop.wait_until(lambda: gate.has_begun(3))
        terminal.press("\x03")
        laptop.wait_until(lambda: "SIGINT: saving" in terminal.shown)
        gate.open(3)
        assert terminal.ended(WAIT) == 130
        assert f"\r\x1b[K[{'#' * 15}{'.' * 5}] iteration 3/4  value 13" in terminal.shown
        assert laptop.saved() == ["1-3"]
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["counting:Count", "--resume"], 2, "nothing to go on from", id="no run"),
        pytest.param(["counting:Nothing"], 1, "has no attribute 'Nothing'", id="no such name"),
        pytest.param(["nowhere:X"], 1, "No module named 'nowhere'", id="no such module"),
        pytest.param(["counting"], 1, "expected module:", id="no name"),
        pytest.param([*START[:2], "{"], 2, "--config: no JSON", id="bad JSON"),
        pytest.param([*START[:2], '{"lr": NaN}'], 2, "NaN is not JSON", id="NaN"),
        pytest.param([*START[:2], "no.json"], 2, "No such file", id="no such file"),
        pytest.param([*START[:2], "list.yaml"], 2, "expected an object", id="a list"),
        pytest.param([*START[:2], "date.yaml"], 2, "not JSON serializable", id="a date"),
        pytest.param([*START[:2], "torn.yaml"], 2, "--config torn.yaml", id="torn YAML"),
        pytest.param([*START, "--stop", "loss"], 2, "KEY=NUMBER", id="no bound"),
        pytest.param([*START, "--stop", "loss=low"], 2, "KEY=NUMBER", id="a bound in words"),
        pytest.param([*START, "--stop", "loss=nan"], 2, "KEY=NUMBER", id="a bound that is none"),
        pytest.param([*START, "--storage", "file"], 2, "--storage: ", id="a file as the store"),
        pytest.param([*START, "--storage", "file", "--resume"], 2, "nothing", id="none to resume"),
    ],
)
def test_a_mistake_is_named_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(TRAINABLES))
    files = {"list.yaml": "[1]", "date.yaml": "day: 2026-01-01", "torn.yaml": "{", "file": ""}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert local.main(["--local", *arguments]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("tune_trainer: ")
    assert printed.out == ""
    assert {path.name for path in tmp_path.iterdir()} == set(files)


@pytest.mark.parametrize(
    "arguments", [["--mode", "best"], ["--checkpoint-frequency", "-1"], ["--no-such-option"], []]
)
def test_a_wrong_option_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    entry = ["counting:Count"] if arguments else []
    with pytest.raises(SystemExit) as caught:
        local.main([*entry, "--local", *arguments])
    assert caught.value.code == 2
    assert "python -m tune_trainer --local: error: " in capsys.readouterr().err


def test_a_run_goes_on_with_its_own_configuration(
    laptop: Laptop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (laptop.folder / "config.yaml").write_text("start: 0\n")
    code, _, stderr = laptop.run(
        "counting:Count", "--config", "config.yaml", "--stop", "training_iteration=1",
        "--checkpoint-at-end",
    )  # fmt: skip
    assert code == 0, stderr
    monkeypatch.syspath_prepend(str(TRAINABLES))
    wrong: list[Any] = ["counting:Count", "--storage", str(laptop.store), "--resume"]
    assert local.main([*wrong, "--config", '{"start": 5}']) == 2
    assert "began with another configuration, {'start': 0}" in capsys.readouterr().err
