"""`make demo`: the whole path once, on a real cluster, told as it happens.

A failure of any step ends with what went wrong and where the log is, and takes back everything that
was made. A success leaves the cluster up, with commands to look further and to remove it.
"""

import argparse
import os
import signal
import sys
import time
import traceback

from dev.demo import install
from dev.demo.errors import StepFailed
from dev.demo.screen import Screen, parameters
from dev.demo.shell import Shell
from dev.demo.story import Story
from dev.demo.target import (
    NAMESPACE,
    ROOT,
    SYSTEM_NAMESPACE,
    CurrentCluster,
    OwnCluster,
    Target,
)
from dev.demo.view import Experiment

EVIDENCE = (
    ("kubectl", "get", "pods", "--all-namespaces", "--output=wide"),
    ("kubectl", "--namespace", NAMESPACE, "describe", "tuneexperiments"),
    ("kubectl", "--namespace", NAMESPACE, "describe", "pods"),
    ("kubectl", "--namespace", NAMESPACE, "get", "events"),
    ("kubectl", "--namespace", SYSTEM_NAMESPACE, "describe", "pods"),
    ("kubectl", "--namespace", SYSTEM_NAMESPACE, "logs", "deployment/tune-operator"),
)


def play(target: Target, shell: Shell, screen: Screen) -> Experiment:
    """The demo from beginning to end; the first experiment as it ended."""
    images = target.prepare()
    install.chart(shell, screen, images)
    keys = install.example(shell, screen)
    story = Story(shell, screen, image=images.digits, keys=keys)
    experiment = story.first()
    tell_best(screen, experiment)
    story.second()
    return experiment


def tell_best(screen: Screen, experiment: Experiment) -> None:
    best = experiment.best
    screen.stress(
        f"best: trial {best['trial']} with {best['objectiveValue']:.4f} "
        f"at iteration {best['iteration']}"
    )
    screen.say(f"   parameters  {parameters(best['config'])}")
    screen.say(f"   checkpoint  {best['checkpoint']['uri']}")


def tell_farewell(screen: Screen, target: Target, shell: Shell) -> None:
    screen.step("Done. To look further:")
    for line in (
        *target.entry(),
        f"kubectl --namespace {NAMESPACE} get tuneexperiments",
        f"kubectl --namespace {NAMESPACE} describe tuneexperiment digits",
        f"kubectl --namespace {SYSTEM_NAMESPACE} logs deployment/tune-operator",
    ):
        screen.say(f"   {line}")
    screen.say("To remove everything:")
    for line in target.removal():
        screen.say(f"   {line}")
    screen.say(f"The log of this demo: {shell.log}")


def keep_evidence(shell: Shell) -> None:
    """Before everything is taken down: what one would want to know, into the log."""
    shell.note("evidence, before everything is taken down")
    for command in EVIDENCE:
        try:
            shell.note(shell.run(*command, seconds=30))
        except StepFailed as error:
            shell.note(str(error))


def give_up(target: Target, shell: Shell, screen: Screen, reason: str) -> None:
    """Say what failed, take everything back, say where the log is."""
    screen.say(f"\ndemo: FAILED: {reason}")
    # A second signal must not stop the clean-up half-way.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if target.ready:
        keep_evidence(shell)
    try:
        target.tear_down()
    except StepFailed as error:
        screen.say(f"demo: that failed too: {error}")
    screen.say(f"demo: the log is {shell.log}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--cluster", choices=["own", "current"], default="own")
    parser.add_argument("--yes", action="store_true", help="do not ask (with --cluster=current)")
    options = parser.parse_args()
    log = ROOT / ".logs" / f"demo-{time.strftime('%Y%m%d-%H%M%S')}.log"
    log.parent.mkdir(exist_ok=True)
    shell, screen = Shell(log, os.environ), Screen()
    target: Target = OwnCluster(shell, screen)
    if options.cluster == "current":
        target = CurrentCluster(shell, screen, yes=options.yes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        play(target, shell, screen)
    except StepFailed as error:
        give_up(target, shell, screen, str(error))
        return 1
    except KeyboardInterrupt:
        give_up(target, shell, screen, "interrupted")
        return 130
    except Exception as error:  # noqa: BLE001 - a defect of the demo leaves nothing behind either
        shell.note(traceback.format_exc())
        give_up(target, shell, screen, f"a defect of the demo itself: {error!r}")
        return 1
    tell_farewell(screen, target, shell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
