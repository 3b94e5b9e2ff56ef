"""From ``module:name`` to the Trainable, with every mistake named before training starts."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from tune_trainer.errors import AttemptFailed
from tune_trainer.failure import describe
from tune_trainer.protocol.exit_record import Reason
from tune_trainer.trainable import Trainable


def load(entrypoint: str) -> type[Trainable]:
    """The Trainable that ``entrypoint`` names, or one that runs the function it names.

    Raises AttemptFailed (EntrypointError).
    """
    module_name, colon, path = entrypoint.partition(":")
    if not (module_name and colon and path):
        raise _refuse(entrypoint, "expected module:name, such as digits:Digits")
    try:
        found: Any = importlib.import_module(module_name)
    except BaseException as error:  # whatever the user's module does at import
        raise _refuse(entrypoint, describe(error)) from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise _refuse(entrypoint, f"{found!r} has no attribute {name!r}")
        found = getattr(found, name)
    if inspect.isclass(found) and issubclass(found, Trainable):
        return found
    if callable(found) and not inspect.isclass(found):
        return _function(entrypoint, found)
    kind = "a class" if inspect.isclass(found) else f"a {type(found).__name__}"
    raise _refuse(
        entrypoint,
        f"is {kind}, expected a subclass of tune_trainer.Trainable or a function train(config)",
    )


def _function(entrypoint: str, found: Any) -> type[Trainable]:
    from tune_trainer.function import wrap

    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise _refuse(entrypoint, "is async: call asyncio.run() in a function train(config)")
    try:
        inspect.signature(found).bind({})
    except (TypeError, ValueError) as error:
        raise _refuse(
            entrypoint, f"must take the configuration as its one argument, train(config): {error}"
        ) from None
    return wrap(found)


def _refuse(entrypoint: str, text: str) -> AttemptFailed:
    return AttemptFailed(Reason.ENTRYPOINT_ERROR, f"entry point {entrypoint!r}: {text}")
