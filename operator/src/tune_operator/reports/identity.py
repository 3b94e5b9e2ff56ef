"""Who sent a report: the operator believes only the identity the API server vouches for."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The Pod a bearer token is bound to, as a TokenReview names it.

    `uid` is what is compared with the bound UID of an attempt: a name may be used again.
    """

    namespace: str
    name: str
    uid: str


class Authenticator(Protocol):
    """Turns a bearer token into the Pod it belongs to."""

    async def authenticate(self, token: str) -> PodIdentity | None:
        """The token's Pod; None when the token is invalid, for another audience or of no Pod.

        Raises any exception when the question could not be asked (the API server is away):
        the server answers 503, because an unknown token is not a wrong token.
        """
        ...
