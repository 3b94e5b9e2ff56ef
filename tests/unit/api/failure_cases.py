"""Sections ``failure``, good and bad, with the words of models and API server alike."""

from __future__ import annotations

from typing import Any

Case = tuple[dict[str, Any], str, str]
"""Section, the field that is blamed below ``spec.failure``, and what is said about it."""


def rule(operator: str, *codes: int, action: str = "FailTrial") -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"operator": operator, "values": list(codes)}}


def ruled(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"rules": list(rules)}


ZERO = "0 is no failure: take it out of values, or use operator NotIn"
LIMITS = "failFast ends the experiment at the first Errored trial"
DEADLINE = "must be 0 (off) or at least 10, because a trainer waits up to 10 seconds"


def overlap(code: int, first: int, second: int) -> str:
    return (
        f"exit code {code} is matched by rules[{first}] and rules[{second}]: let one of them match"
    )


REFUSED: dict[str, Case] = {
    "0 is a failure": (ruled(rule("In", 0, 1)), ".rules[0].onExitCodes", ZERO),
    "code twice in a rule": (
        ruled(rule("In", 1), rule("NotIn", 1, 2, 3, 2)),
        ".rules[1].onExitCodes",
        "exit code 2 is listed twice: take one out",
    ),
    "In and In": (
        ruled(rule("In", 41, 42), rule("In", 1), rule("In", 7, 42)),
        ".rules",
        overlap(42, 0, 2),
    ),
    "the same rule twice": (ruled(rule("In", 42), rule("In", 42)), ".rules", overlap(42, 0, 1)),
    "In, then all but others": (
        ruled(rule("In", 42), rule("NotIn", 0, 1)), ".rules", overlap(42, 0, 1),
    ),
    "all but others, then In": (
        ruled(rule("NotIn", 1, 3), rule("In", 3), rule("In", 1, 2)), ".rules", overlap(2, 0, 2),
    ),
    "NotIn and NotIn": (
        ruled(rule("NotIn", 1, 2), rule("NotIn", 3)), ".rules", overlap(4, 0, 1),
    ),
    "the last code": (ruled(rule("In", 255), rule("In", 254, 255)), ".rules", overlap(255, 0, 1)),
    "the last of twenty rules": (
        ruled(*(rule("In", code) for code in range(1, 20)), rule("In", 100, 7)),
        ".rules",
        overlap(7, 6, 19),
    ),
    "twenty full rules": (
        ruled(*(rule("In", *range(1, 65)) for _ in range(20))), ".rules", overlap(1, 0, 1),
    ),
    "failFast beside another limit": ({"failFast": True, "maxFailedTrials": 1}, "", LIMITS),
    "deadline too short": (
        {"progressDeadlineSeconds": 9}, ".progressDeadlineSeconds", DEADLINE,
    ),
}  # fmt: skip

OUT_OF_BOUNDS: dict[str, tuple[dict[str, Any], str]] = {
    "maxFailures below unlimited": ({"maxFailures": -2}, ".maxFailures"),
    "maxFailures above a million": ({"maxFailures": 10**6 + 1}, ".maxFailures"),
    "maxFailedTrials below unlimited": ({"maxFailedTrials": -2}, ".maxFailedTrials"),
    "maxFailedTrials above a million": ({"maxFailedTrials": 10**6 + 1}, ".maxFailedTrials"),
    "disruptions without a bound": ({"disruptions": {"max": -1}}, ".disruptions.max"),
    "disruptions above a million": ({"disruptions": {"max": 10**6 + 1}}, ".disruptions.max"),
    "policy of disruptions": ({"disruptions": {"policy": "Skip"}}, ".disruptions.policy"),
    "policy of lost nodes": ({"nodeLost": {"policy": "Ignore"}}, ".nodeLost.policy"),
    "a node lost at once": ({"nodeLost": {"timeoutSeconds": 0}}, ".nodeLost.timeoutSeconds"),
    "a node lost after two days": (
        {"nodeLost": {"timeoutSeconds": 172800}}, ".nodeLost.timeoutSeconds",
    ),
    "no time to start": ({"startTimeoutSeconds": 0}, ".startTimeoutSeconds"),
    "negative backoff": ({"backoff": {"initialSeconds": -1}}, ".backoff.initialSeconds"),
    "negative deadline": ({"progressDeadlineSeconds": -10}, ".progressDeadlineSeconds"),
    "deadline above a week": ({"progressDeadlineSeconds": 604801}, ".progressDeadlineSeconds"),
    "too many rules": (ruled(*(rule("In", code) for code in range(1, 22))), ".rules"),
    "too many codes": (ruled(rule("In", *range(1, 66))), ".rules[0].onExitCodes.values"),
    "no codes": (ruled(rule("In")), ".rules[0].onExitCodes.values"),
    "no exit code": (ruled(rule("In", 256)), ".rules[0].onExitCodes.values[0]"),
    "negative exit code": (ruled(rule("NotIn", 1, -1)), ".rules[0].onExitCodes.values[1]"),
    "operator": (ruled(rule("Equal", 1)), ".rules[0].onExitCodes.operator"),
    "action of a Job": (ruled(rule("In", 1, action="FailJob")), ".rules[0].action"),
    "rule without codes": (ruled({"action": "Count"}), ".rules[0].onExitCodes"),
    "rule without an action": (
        ruled({"onExitCodes": {"operator": "In", "values": [1]}}), ".rules[0].action",
    ),
}  # fmt: skip

ACCEPTED: dict[str, dict[str, Any]] = {
    "unlimited": {"maxFailures": -1, "maxFailedTrials": -1, "disruptions": {"max": 10**6}},
    "nothing is borne": {
        "maxFailures": 0, "maxFailedTrials": 0, "disruptions": {"policy": "Ignore", "max": 0},
    },
    "failFast said twice": {"failFast": True, "maxFailedTrials": 0},
    "failFast beside no limit": {"failFast": True, "maxFailedTrials": -1},
    "no failFast beside a limit": {"failFast": False, "maxFailedTrials": 5},
    "wait for lost nodes": {"nodeLost": {"policy": "Wait", "timeoutSeconds": 86400}},
    "shortest deadline": {"progressDeadlineSeconds": 10},
    "no deadline": {"progressDeadlineSeconds": 0},
    "no pause": {"backoff": {"initialSeconds": 0, "maxSeconds": 0}},
    "no rules": ruled(),
    "every action": ruled(
        rule("In", 42),
        rule("In", 43, 44, action="FailExperiment"),
        rule("In", 143, action="Ignore"),
        rule("NotIn", 42, 43, 44, 143, action="Count"),
    ),
    "0 beside all others": ruled(rule("NotIn", 0, 1, action="Ignore"), rule("In", 1)),
    "codes in any order": ruled(rule("In", 3, 1, 2)),
    "as many rules and codes as there may be": ruled(
        *(rule("In", *range(1 + 10 * i, 11 + 10 * i)) for i in range(19)),
        rule("In", *range(191, 255)),
    ),
}  # fmt: skip
