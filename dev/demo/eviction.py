"""The interruption: a running trial loses its Pod through the Eviction API and has to come back."""

import json
import re
from dataclasses import dataclass

from dev.demo.errors import StepFailed
from dev.demo.screen import Screen
from dev.demo.shell import Shell
from dev.demo.target import NAMESPACE
from dev.demo.view import Experiment, Trial, candidate

KUBECTL = ("kubectl", "--namespace", NAMESPACE)


@dataclass(frozen=True)
class Interruption:
    """What was done to which attempt; `committed` is the checkpoint it could rely on by then."""

    trial: str
    attempt: int
    committed: int


def resumed_at(message: str, trial: Trial) -> int | None:
    """The iteration that an event TrialResumed of this very attempt names."""
    about = f"trial {trial.name} resumed as attempt {trial.attempt} from the checkpoint of "
    found = re.fullmatch(re.escape(about) + r"iteration (\d+)", message)
    return int(found[1]) if found else None


class Eviction:
    """Watches an experiment, interrupts one of its trials once and tells how it came back."""

    def __init__(self, shell: Shell, screen: Screen, *, last_iteration: int) -> None:
        self._shell = shell
        self._screen = screen
        self._last_iteration = last_iteration
        self._done: Interruption | None = None
        self.came_back = False

    def look(self, experiment: Experiment) -> None:
        """The next step, given how the experiment stands now."""
        if self.came_back:
            return
        if self._done is None:
            trial = candidate(experiment, last_iteration=self._last_iteration)
            if trial is not None:
                self._evict(experiment, trial)
            return
        trial = experiment.trial(self._done.trial)
        if trial.attempt > self._done.attempt:
            self._tell_resumed(self._done, trial)
        elif trial.finished:
            # It reached its end before the eviction reached it: take another one.
            self._done = None

    def _evict(self, experiment: Experiment, trial: Trial) -> None:
        """Ask for the eviction; a Pod that just ended is no failure."""
        labels = {
            "tuneoperator.io/experiment-uid": experiment.uid,
            "tuneoperator.io/trial": trial.name,
            "tuneoperator.io/attempt": str(trial.attempt),
        }
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = self._shell.json(*KUBECTL, "get", "pods", "-l", selector, "--output=json")["items"]
        if not pods or pods[0]["status"].get("phase") != "Running":
            return
        pod = pods[0]["metadata"]["name"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": NAMESPACE},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        self._shell.run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps(body))
        self._done = Interruption(trial.name, trial.attempt, trial.committed)
        self._screen.stress(
            f"trial {trial.name}: Pod {pod} evicted through the Eviction API; its newest "
            f"checkpoint was of iteration {trial.committed}"
        )

    def _tell_resumed(self, done: Interruption, trial: Trial) -> None:
        """Wait for the first new iteration, then compare it with what was committed."""
        start = self._resumed_at(trial)
        if start is None or (trial.iteration <= start and not trial.finished):
            return
        if start < done.committed:
            raise StepFailed(
                f"trial {trial.name} came back at iteration {start}, but a checkpoint "
                f"of iteration {done.committed} had been committed"
            )
        end = trial.interruption
        self.came_back = True
        self._screen.stress(
            f"trial {trial.name}: attempt {done.attempt} was interrupted at iteration "
            f"{end.get('iteration')} ({end.get('class')}, {end.get('reason')}); attempt "
            f"{trial.attempt} resumed from the checkpoint of iteration {start} "
            f"and is at {trial.iteration}"
        )

    def _resumed_at(self, trial: Trial) -> int | None:
        """Where the attempt went on, as the operator told it in an event."""
        told = self._shell.json(
            *KUBECTL, "get", "events", "--field-selector=reason=TrialResumed", "--output=json"
        )
        for event in told["items"]:
            if found := resumed_at(event["message"], trial):
                return found
        return None

    def require_resumed(self) -> None:
        """StepFailed unless a trial was interrupted and came back."""
        if not self.came_back:
            raise StepFailed("no trial was interrupted and came back before the experiment ended")
