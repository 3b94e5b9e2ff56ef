"""Short histories of one race each: what random histories reach too rarely to rely on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.model.history import KEYS, NAMESPACE, hold
from tests.model.peace import LATE, Peace, conclude
from tests.model.play import Play, Trainer
from tests.model.process import Process
from tests.model.wire import Call
from tune_operator.kube.resources import EXPERIMENTS, PODS, Resource
from tune_operator.kube.transport import Object
from tune_trainer.protocol.environment import EXIT_UNUSABLE
from tune_trainer.protocol.exit_record import Outcome


class Stage(Play):
    """Two trials, and nothing unforeseen but what the example does."""

    def __init__(self, operators: int = 1, *, collects: bool = False) -> None:
        super().__init__(operators, collects=collects)

    @property
    def operator(self) -> Process:
        """The first of them."""
        return self.operators[0]

    @property
    def pod(self) -> Object:
        """The first trial's newest Pod."""
        return [pod for pod in self.pods() if "-00000-" in pod["metadata"]["name"]][-1]

    @property
    def trainer(self) -> Trainer:
        """The process in it."""
        return self.trainers[self.pod["metadata"]["uid"]]

    def work(self, seconds: float = 5.0) -> None:
        """Time passes, and the operator does what there is to do."""
        self.wait_seconds(seconds)
        self.operator.poke()
        self.operator.finish()

    def start(self) -> None:
        """Trainers of all Pods run, with a session."""
        for _ in range(3):
            self.work()
        for _ in range(2):
            for pod in self.pods():
                if pod["metadata"]["uid"] not in self.trainers:
                    self._advance(pod)
        self.work()
        for trainer in self._idle():
            if trainer.plan is None:
                self._ask(trainer, self.operator)
        self.operator.finish()

    def iterate(self) -> None:
        """The first trial's trainer trains on and commits; nobody is told."""
        self._iterate(self.trainer)
        self._commit(self.trainer)

    def tell(self, operator: Process, kind: Resource) -> None:
        """This operator is told all of one kind and nothing else, and works."""
        told = [watch for watch in operator.wire.watches if watch.kind is kind]
        while operator.wire.calls or any(watch.tell() for watch in told):
            if operator.wire.calls:
                operator.passes(operator.wire.calls[0])
            told += [watch for watch in operator.wire.watches if watch.kind is kind]

    def until(self, what: str) -> Call:
        """The operator works until it asks this."""
        for _ in range(1000):
            self.operator.hear_all()
            for call in self.operator.wire.calls:
                if call.what.startswith(what):
                    return call
            if self.operator.wire.calls:
                self.operator.passes(self.operator.wire.calls[0])
            else:
                self.wait_seconds(1.0)
        raise AssertionError(f"it never asks to {what}")

    def give_up(self, call: Call) -> Callable[[], None]:
        """The operator does not wait any longer; what is returned lets the call arrive."""
        self.operator.wire.hangs(call)
        self.operator.wire.calls.remove(call)
        return call.happen


def an_ending_without_an_answer() -> None:
    """A trainer commits, nobody hears of it, it crashes; the store says nothing of its end."""
    with Stage() as stage:
        stage.start()
        stage.iterate()
        stage._stop(stage.pod, 1)
        stage.operator.wire.fails(stage.until("get store"))
        stage.operator.finish()
        conclude(stage, Peace())


def a_new_owner_with_an_old_view() -> None:
    """An operator takes the run over, and has not been told yet of the Pods that run."""
    with Stage(2) as stage:
        heir = stage.operators[1]
        for call in [call for call in heir.wire.calls if call.what == "list pods"]:
            heir.passes(call)
        stage.start()
        stage.tell(heir, EXPERIMENTS)
        conclude(stage, Peace())


def a_commit_between_term_and_claim() -> None:
    """While an heir has taken its term and not landed its claim, the old owner commits."""
    with Stage(2) as stage:
        stage.start()
        owner = stage.operator
        stage.operators.reverse()
        claim = stage.until(f"put store {KEYS.journal()}")
        stage.operators.reverse()
        stage._stop(stage.pod, 1)
        stage.tell(owner, PODS)
        stage.operators[1].passes(claim)
        stage.operators[1].finish()
        conclude(stage, Peace())


def a_status_written_late() -> None:
    """A status write that was given up arrives when others have been written."""
    with Stage() as stage:
        stage.start()
        stage._stop(stage.pod, 1)
        arrive = stage.give_up(stage.until("update"))
        for _ in range(3):
            stage.work()
        arrive()
        conclude(stage, Peace())


def a_suspension_withdrawn() -> None:
    """The user resumes while the Pods of a suspended experiment still end."""
    with Stage() as stage:
        stage.start()
        stage.suspend(0)
        stage.work()
        stage.suspend(0)
        stage.work()
        conclude(stage, Peace())


def a_pod_from_the_future() -> None:
    """An owner hears of the Pod of an attempt before it hears that somebody else began it."""
    with Stage(2) as stage:
        stage.start()
        stage.suspend(0)
        stage.work()
        for pod in stage._running():
            stage._stop(pod, 0)
        stage.work()
        stage.suspend(0)
        stage.operators[1].poke()
        stage.operators[1].finish()
        stage.tell(stage.operator, PODS)
        conclude(stage, Peace())


def a_pod_created_late(*, asks: bool = False) -> None:
    """A create that was given up arrives when its attempt has had a Pod, which is gone by now."""
    with Stage() as stage:
        arrive = stage.give_up(stage.until("create pods"))
        stage.start()
        stage._tear_away(stage.pod)
        arrive()
        for _ in range(2):
            stage._advance(stage.pod)
        if asks:
            stage._ask(stage.trainer, stage.operator)
            for call in list(stage.operator.wire.calls):
                stage.operator.passes(call)
        stage.work()
        conclude(stage, Peace())


def a_late_pod_asks() -> None:
    """The same, and its trainer asks for a session before the operator hears of any change."""
    a_pod_created_late(asks=True)


def a_zombie_commits() -> None:
    """An attempt whose Pod is gone trains on, farther than its successor."""
    with Stage() as stage:
        stage.start()
        ghost = stage.trainer
        stage._tear_away(stage.pod)
        stage.start()
        for _ in range(2):
            stage._iterate(ghost)
            stage._commit(ghost)
        stage.iterate()
        stage._stop(stage.pod, 1)
        stage.work()
        conclude(stage, Peace())


def an_attempt_without_a_commit() -> None:
    """The first attempt commits and crashes, the second crashes at once."""
    with Stage() as stage:
        stage.start()
        stage.iterate()
        for _ in range(2):
            stage._stop(stage.pod, 1)
            stage.start()
        conclude(stage, Peace())


def an_unusable_store() -> None:
    """A trainer cannot use its store and says so."""
    with Stage() as stage:
        stage.start()
        stage._stop(stage.pod, EXIT_UNUSABLE)
        stage.work()
        conclude(stage, Peace())


def nothing_but_failures() -> None:
    """Every attempt of a trial crashes."""
    with Stage() as stage:
        for _ in range(6):
            stage.start()
            for pod in stage._running():
                stage._stop(pod, 1)
        conclude(stage, Peace())


def a_name_taken_in_between() -> None:
    """When an ended Pod is about to be removed, it is gone and a stranger has its name."""
    with Stage() as stage:
        stage.start()
        name = stage.pod["metadata"]["name"]
        stage._stop(stage.pod, 1)
        stage.until(f"get pods {NAMESPACE}/{name}")
        stage._tear_away(stage.pod)
        stage.foreign_pod(0)
        stage.work()
        conclude(stage, Peace())


def a_name_taken_before_the_release() -> None:
    """The same just before the patch that releases it, and the stranger has our finalizer, too."""
    with Stage() as stage:
        stage.start()
        pod = stage.pod
        place = (PODS.plural, NAMESPACE, pod["metadata"]["name"])
        stage._stop(pod, 1)
        stage.until(f"patch pods {NAMESPACE}/{place[2]}")
        stage._tear_away(stage.pod)
        stage.foreign_pod(0)
        held = pod["metadata"]["finalizers"]
        stage.server.change(place, lambda obj: obj["metadata"].update(finalizers=held))
        stage.work()
        conclude(stage, Peace())


def a_release_that_fails() -> None:
    """The bound of a deletion has passed, and a Pod on a silent node cannot be released yet."""
    with Stage() as stage:
        stage.start()
        stage.nodes.turn(stage.pod["spec"]["nodeName"], stage.clocks.wall)
        stage.delete_now()
        stage.work()
        stage.wait_seconds(LATE)
        stage.operator.wire.fails(stage.until("patch pods"))
        while stage.history.experiment is not None:
            stage.operator.passes(stage.until(""))
        tracked = [pod for pod in stage.pods() if pod["metadata"]["finalizers"]]
        hold("P7", not tracked, "the experiment is gone before its Pods are released")
        conclude(stage, Peace())


def a_bucket_from_a_backup() -> None:
    """The bucket is as it was before the last attempt began; status and Pods know of that one."""
    with Stage() as stage:
        stage.start()
        backup = dict(stage.bucket.objects)
        stage._stop(stage.pod, 1)
        stage.start()
        stage._stop(stage.pod, 1)
        stage.bucket.objects = backup
        stage.history.restored()
        conclude(stage, Peace())


def a_name_taken_before() -> None:
    """A stranger has had the name of an attempt's Pod all the time."""
    with Stage() as stage:
        stage.foreign_pod(0)
        for _ in range(4):
            stage.work()
        shown = (stage.history.experiment or {})["status"]["conditions"]
        told = "NameConflict" in [condition["type"] for condition in shown]
        hold("NameConflict", told, "nobody is told why a trial does not start")
        conclude(stage, Peace())


def a_completion_on_a_lost_node() -> None:
    """A trial completes, and its node is lost before its Pod could tell."""
    with Stage() as stage:
        stage.start()
        node = stage.pod["spec"]["nodeName"]
        trainer = stage.trainer
        stage._iterate(trainer)
        stage._record(trainer, Outcome.COMPLETED)
        stage.nodes.turn(node, stage.clocks.wall)
        for _ in range(4):
            stage.controllers(1)
            stage.work(LATE)
        conclude(stage, Peace())


def a_segment_without_an_answer() -> None:
    """A segment lands, nobody hears of it, and meanwhile there is something else to write."""
    with Stage() as stage:
        stage.start()
        stage._stop(stage.pod, 1)
        stage.operator.wire.loses(stage.until(f"put store {KEYS.journal()}"))
        for _ in range(3):
            stage.work()
        conclude(stage, Peace())


def a_slow_kubelet() -> None:
    """A Pod outlives its grace by far on a node that is well."""
    with Stage() as stage:
        stage.start()
        stage.evict(0)
        for _ in range(3):
            stage.work(LATE)
        conclude(stage, Peace())


def a_fenced_trainer_reports() -> None:
    """An attempt on a lost node is replaced while its Pod is there and its trainer trains on."""
    with Stage() as stage:
        stage.start()
        ghost = stage.trainer
        stage.nodes.turn(stage.pod["spec"]["nodeName"], stage.clocks.wall)
        for _ in range(4):
            stage.controllers(1)
            stage.work(LATE)
        stage.start()
        for _ in range(2):
            stage._iterate(ghost)
            stage._report(ghost, stage.operator)
            stage.work()
        conclude(stage, Peace())


def a_displaced_owner_without_a_store() -> None:
    """Somebody has taken the run over; its old owner sees the deletion, and no store."""
    with Stage(2) as stage:
        stage.start()
        owner, heir = stage.operators
        heir.poke()
        heir.finish()
        stage.bucket.up = False
        stage._stop(stage.pod, 1)
        stage.tell(owner, PODS)
        stage.delete_now()
        stage.work()
        conclude(stage, Peace())


def an_intent_that_was_not_shown() -> None:
    """An owner dies between journal and status; its heir has written the status just now."""
    with Stage() as stage:
        stage.until("put store")
        while not stage.history.intents:
            stage.operator.passes(stage.until(""))
        stage.crash(0)
        stage.operator.finish()
        conclude(stage, Peace())


def a_deletion_told_by_its_pods() -> None:
    """The garbage collector's deletions of the Pods are heard of before the experiment's."""
    with Stage() as stage:
        for _ in range(3):
            stage.work()
        stage.delete_now()
        stage.collect()
        stage.tell(stage.operator, PODS)


def a_frozen_owner_wakes() -> None:
    """An owner stands still before a segment lands, an heir settles and goes on, trainers ask both.

    What the owner wrote counts for nothing: it hears so, and leaves.
    """
    with Stage(2) as stage:
        stage.start()
        owner = stage.operator
        stage._stop(stage.pod, 1)
        segment = stage.until(f"put store {KEYS.journal()}")
        owner.loop.frozen = True
        stage.operators.reverse()
        stage.start()
        owner.loop.frozen = False
        for trainer in stage._idle():
            stage._iterate(trainer)
            stage._report(trainer, owner)
        owner.passes(segment)
        owner.finish()
        conclude(stage, Peace())


def ten_minutes_without_an_answer(*, heard: bool = True) -> None:
    """Store and API server are away while trainers train: nobody is charged for that (P15)."""
    with Stage() as stage:
        stage.edit_spec(lambda spec: spec["failure"].update(progressDeadlineSeconds=40))
        stage.start()
        stage.bucket.up = False
        for _ in range(60):
            stage.wait_seconds(10.0)
            for trainer in stage._idle():
                stage._iterate(trainer)
                if heard:
                    stage._report(trainer, stage.operator)
            if not heard:
                stage.operator.unheard = stage.operator.clock.now()
            for watch in list(stage.operator.wire.watches):
                watch.end(gone=True)
            stage.operator.poke()
            while stage.operator.wire.calls:
                stage.operator.wire.fails(stage.operator.wire.calls[0])
                stage.operator.turn()
        stage.bucket.up = True
        for _ in range(6):
            stage.work(10.0)
            for trainer in stage._idle():
                stage._report(trainer, stage.operator)
        for trial in stage.history.state.trials:
            counted = trial.failures + trial.disruptions + trial.infrastructure
            untouched = (trial.attempt, counted, trial.stop_intent) == (1, 0, "")
            hold("P15", untouched, f"the outage shows in {trial}")
        conclude(stage, Peace())


def ten_minutes_unheard() -> None:
    """The same, and trainers are turned away: nobody can say who they are."""
    ten_minutes_without_an_answer(heard=False)


def an_operator_behind_the_kubelets() -> None:
    """For the operator, Pods are made and end in the future."""
    with Stage() as stage:
        stage.operator.clock.jumps(timedelta(minutes=-2))
        stage.start()
        ended = stage._running()
        for pod in ended:
            stage._stop(pod, 1)
        stage.work()
        stay = [pod for pod in ended if stage.server.by_uid(pod["metadata"]["uid"])]
        hold("P13", not stay, f"{len(stay)} Pods of attempts that were settled stay")
        conclude(stage, Peace(restart=False))


def an_heir_behind_its_predecessor() -> None:
    """For the heir of a run, the last attempt was interrupted in the future."""
    with Stage(2) as stage:
        stage.operator.clock.jumps(timedelta(hours=2))
        stage.start()
        stage._stop(stage.pod, 1)
        stage.until("update")  # it is journaled
        stage.operators.reverse()
        conclude(stage, Peace(restart=False))


EXAMPLES = (
    a_deletion_told_by_its_pods,
    a_frozen_owner_wakes,
    ten_minutes_without_an_answer,
    ten_minutes_unheard,
    an_operator_behind_the_kubelets,
    an_heir_behind_its_predecessor,
    a_segment_without_an_answer,
    a_slow_kubelet,
    a_fenced_trainer_reports,
    a_completion_on_a_lost_node,
    a_displaced_owner_without_a_store,
    an_intent_that_was_not_shown,
    a_name_taken_before,
    an_ending_without_an_answer,
    a_new_owner_with_an_old_view,
    a_commit_between_term_and_claim,
    a_status_written_late,
    a_suspension_withdrawn,
    a_pod_created_late,
    a_late_pod_asks,
    a_zombie_commits,
    an_attempt_without_a_commit,
    an_unusable_store,
    nothing_but_failures,
    a_name_taken_in_between,
    a_name_taken_before_the_release,
    a_release_that_fails,
    a_bucket_from_a_backup,
    a_pod_from_the_future,
)
