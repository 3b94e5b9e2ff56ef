"""The first request: what to train, where to save, where to go on from."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tune_trainer import __version__
from tune_trainer.errors import Fenced, Unusable
from tune_trainer.operator_client import NotNow, Operator, Outdated, Refused
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.messages import SESSION_PATH, SessionRequest, SessionResponse
from tune_trainer.retry import delays

log = logging.getLogger(__name__)


def request_for(trial: str, attempt: int, *, can_save: bool, can_load: bool) -> SessionRequest:
    """The request of this SDK."""
    return SessionRequest(trial, attempt, can_save, can_load, f"tune-trainer/{__version__}")


def open_session(
    client: Operator,
    request: SessionRequest,
    seconds: float,
    *,
    wait: Callable[[float], object] = time.sleep,
) -> SessionResponse:
    """Ask until the operator answers: it may not have bound this Pod yet, or be away.

    Raises Fenced (401), Unusable (refused, another protocol, or no answer within ``seconds``).
    """
    waited = 0.0
    for delay in delays(first=0.2, longest=5.0):
        try:
            return SessionResponse.from_bytes(client.post(SESSION_PATH, request.to_json()))
        except Outdated as error:
            raise Fenced(f"the operator gives this Pod no session: {error}") from None
        except Refused as error:
            raise Unusable(f"the operator refuses the session: {error}") from None
        except ProtocolError as error:
            raise Unusable(f"the operator speaks another protocol: {error}") from None
        except NotNow as error:
            pause = max(delay, error.retry_after)
            waited += pause
            if waited > seconds:
                raise Unusable(f"no session after {seconds:.0f} s: {error}") from None
            log.info("no session yet (%s); asking again in %.1f s", error, pause)
        wait(pause)
    raise AssertionError("delays() never ends")
