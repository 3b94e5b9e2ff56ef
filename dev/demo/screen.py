"""What the demo shows: numbered steps, and trials as a live table or, elsewhere, as lines."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dev.demo.view import Experiment, Trial

STYLES = {"Running": "cyan", "Terminated": "green", "Errored": "red", "Pending": "dim"}


class Screen:
    """The terminal; plain lines when it is none."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._shown: dict[str, tuple[object, ...]] = {}
        self._step = 0
        self._start = time.monotonic()

    def step(self, text: str) -> None:
        self._step += 1
        elapsed = time.monotonic() - self._start
        self._console.print(f"\n[bold]{self._step}. {text}[/bold] [dim]({elapsed:.0f} s)[/dim]")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def stress(self, text: str) -> None:
        """A line that is the point of the demo."""
        self._console.print(f">>> {text}", style="bold yellow", markup=False)

    @contextmanager
    def table(self) -> Iterator[None]:
        """Inside, `trials` redraws one table, or prints a line per change."""
        self._shown.clear()
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def trials(self, experiment: Experiment) -> None:
        if self._live is not None:
            self._live.update(_table(experiment), refresh=True)
            return
        for trial in experiment.trials:
            known = (trial.state, trial.attempt, trial.checkpoint)
            if trial.attempt and self._shown.get(trial.name) != known:
                self._shown[trial.name] = known
                self.say(f"   trial {trial.name}  {' '.join(_cells(trial)[1:])}")


def _table(experiment: Experiment) -> Table:
    title = f"{experiment.name}: {experiment.state}, {experiment.done} done"
    table = Table(title=title, title_justify="left")
    for heading in ("trial", "state", "attempt", "iteration", "value", "checkpoint", "parameters"):
        table.add_column(heading)
    for trial in experiment.trials:
        table.add_row(*_cells(trial, plain=False), style=STYLES.get(trial.state))
    return table


def _cells(trial: Trial, *, plain: bool = True) -> tuple[str, ...]:
    """The columns of one trial; in plain lines each number says what it is."""
    value = "-" if trial.value is None else f"{trial.value:.4f}"
    saved = f"at {trial.checkpoint.iteration}" if trial.checkpoint else "-"
    cells = {
        "attempt": str(trial.attempt),
        "iteration": str(trial.iteration),
        "value": value,
        "checkpoint": saved,
    }
    numbers = [f"{label} {text}" for label, text in cells.items()] if plain else cells.values()
    return (trial.name, trial.state, *numbers, parameters(trial.params))


def parameters(params: Mapping[str, Any]) -> str:
    """Parameters on one line: `act=tanh lr=0.0123`."""
    texts = (
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in sorted(params.items())
    )
    return " ".join(texts)
