"""The ``failure`` section: what a trial that does not reach its end may cost."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from tune_operator.api.base import Model, Rule, rules

MAX_RULES: Final = 20
MAX_EXIT_CODES: Final = 64

_DAY: Final = 86400
_MILLION: Final = 10**6

_BACKOFF_ORDER: Final = "maxSeconds must be at least initialSeconds: raise it or lower the other"


class Backoff(
    Model,
    json_schema_extra=rules(
        Rule(
            "(has(self.initialSeconds) ? self.initialSeconds : 1) <= "
            "(has(self.maxSeconds) ? self.maxSeconds : 300)",
            _BACKOFF_ORDER,
            ".maxSeconds",
        )
    ),
):
    """Wait before the n-th attempt in a row without a new checkpoint: initial · 2^(n-1)."""

    initial_seconds: Annotated[int, Field(ge=0, le=_DAY)] = Field(
        default=1, description="First wait, in seconds. Default 1."
    )
    max_seconds: Annotated[int, Field(ge=0, le=_DAY)] = Field(
        default=300, description="Longest wait, in seconds. Default 300."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Backoff:
        if self.max_seconds < self.initial_seconds:
            raise PydanticCustomError("range", "{help}", {"help": _BACKOFF_ORDER})
        return self


class Disruptions(Model):
    """What preemption, eviction and the loss of a node cost a trial."""

    policy: Literal["Count", "Ignore"] = Field(
        default="Count",
        description="Count: a disruption uses up one of maxFailures. Ignore: it does not, and max "
        "bounds them apart. Default Count.",
    )
    max: Annotated[int, Field(ge=0, le=_MILLION)] = Field(
        default=20,
        description="Disruptions that a trial bears under policy Ignore; with one more it is "
        "Errored. Default 20.",
    )


_SUCCESS: Final = "0 is no failure: take it out of values, or use operator NotIn"
_TWICE: Final = "each exit code is listed once: take out the duplicates"


def _distinct(codes: list[int]) -> list[int]:
    twice = next((code for code in codes if codes.count(code) > 1), None)
    if twice is not None:
        raise PydanticCustomError(
            "duplicate", "exit code {code} is listed twice: take one out", {"code": twice}
        )
    return codes


def _failures_only(codes: list[int], info: ValidationInfo) -> list[int]:
    if info.data.get("operator") == "In" and 0 in codes:
        raise PydanticCustomError("range", "{help}", {"help": _SUCCESS})
    return codes


class OnExitCodes(
    Model,
    json_schema_extra=rules(
        Rule("self.operator != 'In' || !(0 in self.values)", _SUCCESS, ".values"),
        Rule(
            "self.values.all(v, self.values.exists_one(w, w == v))",
            _TWICE,
            ".values",
            telling="'exit code %d is listed twice: take one out'.format("
            "[self.values.filter(v, !self.values.exists_one(w, w == v))[0]])",
        ),
    ),
):
    """Exit codes of the trainer, as in a Job's podFailurePolicy."""

    operator: Literal["In", "NotIn"] = Field(
        description="In: the rule matches the codes of values. NotIn: it matches all others."
    )
    values: Annotated[
        list[Annotated[int, Field(ge=0, le=255)]],
        Field(min_length=1, max_length=MAX_EXIT_CODES),
        AfterValidator(_distinct),
        AfterValidator(_failures_only),
    ] = Field(description="Exit codes, 0-255, each once; 0 is no failure and only for NotIn.")

    def match(self, code: int) -> bool:
        """Whether the rule is about this exit code."""
        return (code in self.values) == (self.operator == "In")


class FailureRule(Model):
    """What to do when a trainer fails with one of these exit codes."""

    action: Literal["FailTrial", "FailExperiment", "Ignore", "Count"] = Field(
        description="FailTrial: the trial is Errored at once. FailExperiment: so is it, and the "
        "others are stopped. Ignore: try again without counting. Count: an ordinary failure."
    )
    on_exit_codes: OnExitCodes = Field(description="Which exit codes it is about.")


_CODES: Final = list(range(1, 256))


def _disjoint(entries: list[FailureRule]) -> list[FailureRule]:
    for code in _CODES:
        matching = [i for i, rule in enumerate(entries) if rule.on_exit_codes.match(code)]
        if len(matching) > 1:
            raise PydanticCustomError(
                "overlap",
                "exit code {code} is matched by rules[{first}] and rules[{second}]: "
                "let one of them match it",
                {"code": code, "first": matching[0], "second": matching[1]},
            )
    return entries


_MATCHES: Final = "(code in {0}.onExitCodes.values) == ({0}.onExitCodes.operator == 'In')"
_MATCHING: Final = f"self.filter(rule, {_MATCHES.format('rule')})"
_INDICES: Final = (
    f"{list(range(MAX_RULES))}.filter(i, i < size(self) && ({_MATCHES.format('self[i]')}))"
)
_OVERLAP: Final = Rule(
    f"{_CODES}.all(code, size({_MATCHING}) <= 1)",
    "an exit code is matched by two rules: let one of them match it",
    # format() because the server takes a string that was put together for endless.
    telling=f"[{_CODES}.filter(code, size({_MATCHING}) > 1)[0]].map(code, 'exit code %d is matched "
    "by rules[%d] and rules[%d]: let one of them match it'.format("
    f"[code, {_INDICES}[0], {_INDICES}[1]]))[0]",
)

FailureRules = Annotated[
    list[FailureRule],
    Field(max_length=MAX_RULES, json_schema_extra=rules(_OVERLAP)),
    AfterValidator(_disjoint),
]


class NodeLost(Model):
    """What to do about a Pod whose node does not answer any more."""

    timeout_seconds: Annotated[int, Field(ge=1, le=_DAY)] = Field(
        default=60,
        description="Seconds a node may be unreachable before its Pods are given up; the default "
        "of their tolerations of such a node, too. Default 60.",
    )
    policy: Literal["Fence", "Wait"] = Field(
        default="Fence",
        description="Fence: a new attempt starts elsewhere, and what the old one still reports or "
        "saves is refused. Wait: until the Pod is known to have ended. Default Fence.",
    )


_TWO_LIMITS: Final = (
    "failFast ends the experiment at the first Errored trial, a positive maxFailedTrials does not: "
    "set one of them"
)
_DEADLINE: Final = (
    "must be 0 (off) or at least 10, because a trainer waits up to 10 seconds "
    "for the answer to a report: raise it"
)


def _long_enough(seconds: int) -> int:
    if 0 < seconds < 10:
        raise PydanticCustomError("range", "{help}", {"help": _DEADLINE})
    return seconds


ProgressDeadline = Annotated[
    int,
    Field(ge=0, le=7 * _DAY, json_schema_extra=rules(Rule("self == 0 || self >= 10", _DEADLINE))),
    AfterValidator(_long_enough),
]


class Failure(
    Model,
    json_schema_extra=rules(
        Rule(
            "!has(self.failFast) || !self.failFast || !has(self.maxFailedTrials) || "
            "self.maxFailedTrials <= 0",
            _TWO_LIMITS,
            ".failFast",
        ),
    ),
):
    """What a trial that does not reach its end may cost."""

    max_failures: Annotated[int, Field(ge=-1, le=_MILLION)] = Field(
        default=3,
        description="Failures that a trial bears, disruptions among them unless they are ignored: "
        "N retries are N+1 attempts, then it is Errored. -1 is unlimited. Default 3.",
    )
    disruptions: Disruptions = Field(
        default=Disruptions(), description="What a preempted or lost Pod costs."
    )
    max_failed_trials: Annotated[int, Field(ge=-1, le=_MILLION)] = Field(
        default=-1,
        description="Errored trials that the experiment bears; with one more it fails. "
        "-1 is unlimited. Default -1.",
    )
    fail_fast: bool = Field(
        default=False,
        description="Whether the experiment fails as soon as any trial is Errored, as with "
        "maxFailedTrials 0. Default false.",
    )
    backoff: Backoff = Field(default=Backoff(), description="Wait between attempts.")
    rules: FailureRules = Field(
        default=[],
        description="What to do about single exit codes. A code may be matched by one rule only; "
        "one that none matches is an ordinary failure. 75 reaches no rule: it is how the SDK ends "
        "when the store or the operator cannot be used.",
    )
    node_lost: NodeLost = Field(
        default=NodeLost(), description="What to do when a node does not answer any more."
    )
    start_timeout_seconds: Annotated[int, Field(ge=1, le=_DAY)] = Field(
        default=600,
        description="Seconds a scheduled Pod may take to start its trainer (image, mounts, init "
        "containers) before the attempt fails. Default 600.",
    )
    progress_deadline_seconds: ProgressDeadline = Field(
        default=0,
        description="Seconds a trainer may go without a report before the attempt is stopped and "
        "counted as a failure, at least 10; 0 is off. Default 0.",
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Failure:
        if self.fail_fast and self.max_failed_trials > 0:
            raise PydanticCustomError("one_of", "{help}", {"help": _TWO_LIMITS})
        return self
