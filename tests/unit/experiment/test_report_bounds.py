"""What reports leave behind: taken in once, within bounds, never the past of another owner."""

import pytest

from tests.unit.experiment.world import World
from tests.unit.lifecycle.builders import record
from tune_operator.experiment import records, reports
from tune_operator.reports.identity import PodIdentity
from tune_trainer.protocol import fields
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.messages import CompleteRequest, ResultsRequest, ResultsResponse
from tune_trainer.protocol.result import Result


def result(seq: int, size: int = 10) -> Result:
    return Result(seq, {"training_iteration": seq, "accuracy": 0.5, "text": "x" * size})


async def tell(world: World, who: PodIdentity, *results: Result, after: int = 0) -> ResultsResponse:
    body = fields.dump(ResultsRequest(1, results, after=after).to_json())
    return await world.reports.results(who, ResultsRequest.from_bytes(body))


class TestBounds:
    async def test_what_waits_for_the_journal_is_bounded_over_all_trials_of_a_run(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reports, "UNDURABLE_BYTES", 5000)
        world = World()
        who = await world.start()
        answer = await tell(world, who, *(result(seq, 1000) for seq in range(1, 11)))
        assert answer.received == 4
        assert (await tell(world, who, result(5, 1000), after=4)).received == 4

    async def test_repetitions_make_what_is_new_no_lighter(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reports, "UNDURABLE_BYTES", 5000)
        world = World()
        who = await world.start()
        small = [result(seq) for seq in range(1, 11)]
        await tell(world, who, *small)
        for seq in range(11, 20):
            answer = await tell(world, who, *small, result(seq, 1500), after=10)
        assert answer.received < 13

    async def test_there_is_room_again_once_they_are_journaled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reports, "UNDURABLE_BYTES", 5000)
        world = World()
        who = await world.start()
        await tell(world, who, *(result(seq, 1000) for seq in range(1, 5)))
        world.clock.advance(2)
        await world.look()
        assert world.run.undurable == 0
        answer = await tell(world, who, result(5, 1000), after=4)
        assert (answer.received, answer.durable) == (5, 4)

    async def test_a_completion_brings_no_results_past_the_bound(self) -> None:
        """They are read from the record when the attempt is settled."""
        world = World()
        who = await world.start()
        end = record(Outcome.COMPLETED, iteration=2, metrics={"accuracy": 0.9})
        await world.reports.complete(who, CompleteRequest(1, end))
        assert world.run.progress["00000"].results == ()
        await world.look()
        row = world.status["trials"][0]
        assert (row["state"], row["objectiveValue"]) == ("Terminated", 0.9)


class TestAfterAnotherOwner:
    async def test_results_that_he_took_in_are_behind_us(self) -> None:
        """Else we would ask for ever for what the trainer knows to be durable."""
        world = World()
        who = await world.start()
        await tell(world, who, result(1))
        journal = world.run.journal
        assert journal is not None
        trial = journal.state.trials[0]
        row = {"type": "results", "trial": trial.name, "attempt": 1, "seq": 7, "results": []}
        await journal.commit(world.store, [row])
        world.run.advance()
        answer = await tell(world, who, result(8), after=7)
        assert (answer.received, answer.durable) == (8, 7)

    async def test_what_was_not_journaled_is_forgotten_with_the_run(self) -> None:
        world = World()
        who = await world.start()
        await tell(world, who, result(1))
        world.gates.leave(world.run)
        assert world.run.progress == {}
        assert world.run.undurable == 0


class TestThrottle:
    async def test_results_that_the_status_does_not_show_are_journaled_together(self) -> None:
        """Of five hundred running trials half are not listed; each report would be a commit."""
        world = World()
        who = await world.start()
        silent = Result(1, {"training_iteration": 0})
        world.clock.advance(10)
        await tell(world, who, silent)
        await world.look()
        shown = world.status
        assert world.run.progress_wait(world.clock.monotonic()) > 0
        await tell(world, who, Result(2, {"training_iteration": 0}), after=1)
        await world.look()
        journal = world.run.journal
        assert journal is not None
        assert (journal.state.trials[0].seq, world.status) == (1, shown)
        world.clock.advance(1)
        await world.look()
        assert journal.state.trials[0].seq == 2


class TestHugeNumbers:
    async def test_an_iteration_that_cannot_be_is_none(self) -> None:
        world = World()
        who = await world.start()
        await tell(world, who, Result(1, {"training_iteration": 10**60, "accuracy": 0.5}))
        world.clock.advance(2)
        await world.look()
        journal = world.run.journal
        assert journal is not None
        assert journal.state.trials[0].iteration == 0
        assert records.changes(journal.state, journal.state) == []
