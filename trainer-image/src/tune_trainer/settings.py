"""What the operator told this Pod through its environment, read once and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tune_trainer.errors import AttemptFailed, Unusable
from tune_trainer.protocol import environment as env
from tune_trainer.protocol.exit_record import Reason
from tune_trainer.store.s3 import Credentials


@dataclass(frozen=True)
class Settings:
    """Environment of one attempt. ``grace`` is the Pod's, in seconds."""

    session_url: str
    ca: str
    token_file: Path
    trial: str
    attempt: int
    entrypoint: str
    grace: float
    credentials: Credentials

    @classmethod
    def read(cls, environ: Mapping[str, str], arguments: list[str]) -> Settings:
        """Raises Unusable that names the variable, and AttemptFailed without an entry point."""
        entrypoint = arguments[0] if arguments else environ.get(env.ENTRYPOINT, "")
        if not entrypoint or len(arguments) > 1:
            raise AttemptFailed(
                Reason.ENTRYPOINT_ERROR,
                "name what to train, module:name, as the one argument of container trainer "
                f"(args) or in {env.ENTRYPOINT}",
            )
        return cls(
            session_url=_need(environ, env.SESSION_URL),
            ca=_need(environ, env.CA),
            token_file=Path(_need(environ, env.TOKEN_FILE)),
            trial=_need(environ, env.TRIAL),
            attempt=int(_number(environ, env.ATTEMPT)),
            entrypoint=entrypoint,
            grace=_number(environ, env.GRACE_SECONDS),
            credentials=Credentials(
                access_key=_need(environ, env.ACCESS_KEY),
                secret_key=_need(environ, env.SECRET_KEY),
                session_token=environ.get(env.SESSION_TOKEN) or None,
            ),
        )


def _need(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise Unusable(f"{name} is not set: this program runs inside the Pod of a trial")
    return value


def _number(environ: Mapping[str, str], name: str) -> float:
    value = _need(environ, name)
    try:
        return float(value)
    except ValueError:
        raise Unusable(f"{name} is {value!r}, expected a number") from None
