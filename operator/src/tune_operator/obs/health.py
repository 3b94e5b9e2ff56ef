"""Named checks behind /healthz and /readyz: each says in words what is wrong, or nothing."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Check = Callable[[], str | Awaitable[str | None] | None]
"""Returns the reason why something is not well, or None. Raising is a reason too."""

CHECK_SECONDS = 2.0
"""A check that takes longer than this has failed; probes wait no longer either."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What one round of checks found: (name, reason), None for what is well."""

    checks: tuple[tuple[str, str | None], ...]

    @property
    def ok(self) -> bool:
        """Whether all checks are well."""
        return all(reason is None for _, reason in self.checks)

    def text(self) -> str:
        """One line per check, for people and for the kubelet's events."""
        lines = [f"{name}: {'ok' if reason is None else reason}" for name, reason in self.checks]
        return "\n".join([*lines, "ok" if self.ok else "not ok", ""])


class Health:
    """The checks of one process. A live one that fails means restart; a ready one means wait."""

    def __init__(self) -> None:
        self._live: list[tuple[str, Check]] = []
        self._ready: list[tuple[str, Check]] = []

    def live(self, name: str, check: Check) -> None:
        """Adds a check to /healthz. It must not depend on anything outside of this process."""
        self._live.append((name, check))

    def ready(self, name: str, check: Check) -> None:
        """Adds a check to /readyz."""
        self._ready.append((name, check))

    async def liveness(self) -> Findings:
        """Runs the live checks."""
        return await _run(self._live)

    async def readiness(self) -> Findings:
        """Runs the live and the ready checks."""
        return await _run([*self._live, *self._ready])


async def _run(checks: list[tuple[str, Check]]) -> Findings:
    reasons = await asyncio.gather(*(_one(check) for _, check in checks))
    return Findings(
        tuple((name, reason) for (name, _), reason in zip(checks, reasons, strict=True))
    )


async def _one(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            outcome = check()
            return await outcome if inspect.isawaitable(outcome) else outcome
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001  # a check that breaks is a check that fails
        return f"check failed: {type(error).__name__}: {error}"
