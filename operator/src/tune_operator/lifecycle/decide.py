"""One pure step: from an observation to the next durable state and the actions that follow it.

The caller journals the state and shows it in the status first, and acts only after both landed;
so an intent is always recorded before its Pod exists, and a crash in between is repaired by the
next look (row 18).
"""

from __future__ import annotations

from tune_operator.lifecycle.draft import Decision, Draft
from tune_operator.lifecycle.ending import finish
from tune_operator.lifecycle.judging import bind, fence_left_behind, judge, take_in_progress
from tune_operator.lifecycle.observation import Observation
from tune_operator.lifecycle.releasing import release
from tune_operator.lifecycle.starting import start
from tune_operator.lifecycle.stopping import delete_stopped, intent_for_all, judge_failures, stop

__all__ = ["Decision", "decide"]


def decide(observation: Observation) -> Decision:
    """The next step of an experiment. Pure: same observation, same decision."""
    draft = Draft(observation)
    take_in_progress(draft)
    bind(draft)
    stop(draft)
    judge(draft)
    judge_failures(draft)
    stop(draft)  # the verdicts may have ended the whole run
    fence_left_behind(draft)
    if observation.may_start and draft.run.ended is None and not intent_for_all(draft):
        start(draft)
    delete_stopped(draft)
    release(draft)
    finish(draft)
    return draft.decision()
