"""The plot: an experiment whose trial loses its Pod and comes back, and one ended half-way."""

import time
from collections.abc import Callable
from typing import Any

import yaml

from dev.demo import bucket
from dev.demo.errors import StepFailed
from dev.demo.eviction import KUBECTL, Eviction
from dev.demo.install import EXAMPLE, STORE_SERVICE
from dev.demo.screen import Screen
from dev.demo.shell import Shell
from dev.demo.target import SYSTEM_NAMESPACE
from dev.demo.view import Experiment

MANIFEST = EXAMPLE / "experiment.yaml"
POLL_SECONDS = 0.5
EXPERIMENT_SECONDS = 900.0
FIRST_CHECKPOINTS_SECONDS = 180.0
KUBELET_SECONDS = 30.0


class Story:
    """Runs both experiments and tells what happens, with the image of this cluster."""

    def __init__(self, shell: Shell, screen: Screen, *, image: str, keys: bucket.Keys) -> None:
        self._shell = shell
        self._screen = screen
        self._image = image
        self._keys = keys

    def first(self) -> Experiment:
        """Eight trials, one of which is interrupted; the experiment as it ended."""
        manifest = self._manifest()
        self._screen.step("kubectl apply -f examples/digits/experiment.yaml")
        if manifest["spec"]["trainer"]["image"] == self._image:
            self._shell.run("kubectl", "apply", f"--filename={MANIFEST}")
        else:
            self._screen.say(f"   with the image {self._image}")
            self._apply(manifest)
        last = int(manifest["spec"]["stop"]["criteria"]["training_iteration"])
        eviction = Eviction(self._shell, self._screen, last_iteration=last)

        def ended(experiment: Experiment) -> bool:
            eviction.look(experiment)
            return experiment.is_true("Complete")

        name = manifest["metadata"]["name"]
        experiment = self._watch(name, "complete", ended, seconds=EXPERIMENT_SECONDS)
        eviction.require_resumed()
        return experiment

    def second(self) -> None:
        """An experiment without end, deleted half-way: nothing stays but its checkpoints."""
        manifest = self._manifest()
        name = manifest["metadata"]["name"] = "digits-stopped"
        trials = int(manifest["spec"]["maxConcurrentTrials"])
        manifest["spec"]["numSamples"] = trials
        manifest["spec"]["stop"]["criteria"] = {"training_iteration": 1_000_000}
        self._screen.step(f"A second experiment, {name}, is deleted while it runs")
        self._apply(manifest)

        def all_saved(experiment: Experiment) -> bool:
            return sum(trial.committed > 0 for trial in experiment.running) == trials

        running = self._watch(
            name, "running with checkpoints", all_saved, seconds=FIRST_CHECKPOINTS_SECONDS
        )
        self._screen.say(f"   kubectl delete tuneexperiment {name}")
        start = time.monotonic()
        self._shell.run(*KUBECTL, "delete", "tuneexperiment", name, "--timeout=240s")
        self._require_nothing_left(running, start)
        self._require_checkpoints(running)

    def _manifest(self) -> Any:
        return yaml.safe_load(MANIFEST.read_text())

    def _apply(self, manifest: Any) -> None:
        """The manifest with the image of this cluster."""
        manifest["spec"]["trainer"]["image"] = self._image
        self._shell.run("kubectl", "apply", "--filename=-", stdin=yaml.safe_dump(manifest))

    def _watch(
        self, name: str, goal: str, reached: Callable[[Experiment], bool], *, seconds: float
    ) -> Experiment:
        """Show the experiment until it reached the goal; StepFailed if it cannot or takes long."""
        command = (*KUBECTL, "get", "tuneexperiment", name, "--output=json")
        deadline = time.monotonic() + seconds
        with self._screen.table():
            while time.monotonic() < deadline:
                experiment = Experiment.of(self._shell.json(*command))
                self._screen.trials(experiment)
                if experiment.trouble:
                    raise StepFailed(f"experiment {name}: {experiment.trouble}")
                if reached(experiment):
                    return experiment
                time.sleep(POLL_SECONDS)
        raise StepFailed(f"experiment {name} was not {goal} within {seconds:.0f} s")

    def _require_nothing_left(self, experiment: Experiment, start: float) -> None:
        """No object with a finalizer of ours any more, and no Pod.

        A Pod whose container has ended is the kubelet's to remove: it may take a moment longer.
        """
        selector = f"tuneoperator.io/experiment-uid={experiment.uid}"
        pods = ("get", "pods", "-l", selector, "--output=name")
        named = ("get", "tuneexperiment", experiment.name, "--ignore-not-found", "--output=name")
        deadline = time.monotonic() + KUBELET_SECONDS
        while left := self._shell.run(*KUBECTL, *pods) + self._shell.run(*KUBECTL, *named):
            if time.monotonic() > deadline:
                raise StepFailed(f"after the deletion these are still there: {left.split()}")
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - start
        self._screen.stress(f"gone after {seconds:.0f} s: no Pod and no finalizer is left")

    def _require_checkpoints(self, experiment: Experiment) -> None:
        """Each trial that ran has in the bucket at least what it had when it was deleted."""
        with bucket.opened(self._shell, SYSTEM_NAMESPACE, STORE_SERVICE, self._keys) as store:
            for trial in experiment.trials:
                newest = store.newest_checkpoint(experiment.root, trial.name)
                if newest is None or newest.iteration < trial.committed:
                    raise StepFailed(f"trial {trial.name}: its checkpoint is not in the bucket")
                self._screen.stress(
                    f"trial {trial.name}: seen at iteration {trial.iteration}, "
                    f"saved at {newest.iteration} in {experiment.root}"
                )
