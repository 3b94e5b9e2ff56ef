"""What an operator may ask of a trainer, and from which result on."""

from tune_trainer.protocol.messages import CONTINUE, Directive, DirectiveKind, ResultsRequest

STOP = Directive(DirectiveKind.STOP, "s-1")
CHECKPOINT = Directive(DirectiveKind.CHECKPOINT, "c-1")


class AskedFrom:
    """The directive as the answer to this result and to all that follow: operators repeat it."""

    def __init__(self, seq: int, directive: Directive) -> None:
        self._seq = seq
        self._directive = directive
        self._reached = False

    def __call__(self, request: ResultsRequest) -> Directive:
        self._reached = self._reached or request.seq >= self._seq
        return self._directive if self._reached else CONTINUE
