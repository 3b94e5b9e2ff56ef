"""The class API: what a user subclasses to make a model trainable by an experiment."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tune_trainer import result as names
from tune_trainer.context import TrialContext, current
from tune_trainer.progress import Stopwatch


class Trainable:
    """A model that is trained one iteration at a time and can be saved and restored.

    Subclasses override ``setup`` and ``step``, and ``save_checkpoint`` and ``load_checkpoint`` if
    the trial shall survive its Pod. The names of older Ray releases (``_setup``, ``_train``,
    ``_save``, ``_restore``, ``_stop``) work as well.

    >>> class Count(Trainable):
    ...     def setup(self, config):
    ...         self.value = config["start"]
    ...     def step(self):
    ...         self.value += 1
    ...         return {"value": self.value}
    ...     def save_checkpoint(self, checkpoint_dir):
    ...         return {"value": self.value}
    ...     def load_checkpoint(self, checkpoint):
    ...         self.value = checkpoint["value"]
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        """Set up for ``config``. Prefer to override ``setup``."""
        self.config: dict[str, Any] = {} if config is None else config
        # Mangled, so that no attribute of a subclass can hide it.
        self.__context = current.get() or TrialContext()
        self.setup(copy.deepcopy(self.config))

    @property
    def iteration(self) -> int:
        """Iterations completed so far, those before a restore included."""
        return self.__context.progress.iteration

    @property
    def training_iteration(self) -> int:
        """The same as ``iteration``, named as in a result."""
        return self.iteration

    @property
    def trial_id(self) -> str:
        """Name of the trial, such as ``"00003"``; ``"default"`` outside an experiment."""
        return self.__context.trial_id

    @property
    def trial_name(self) -> str:
        """The same as ``trial_id``: a trial has one name here."""
        return self.trial_id

    def get_config(self) -> dict[str, Any]:
        """The configuration of the trial."""
        return self.config

    def train(self) -> dict[str, Any]:
        """Run ``step`` once and return its result with the automatic fields filled in.

        A result with ``__duplicate__`` says that there is no new one: it is returned as it is, and
        nothing is counted. Raises TypeError when ``step`` returns no dictionary, and what ``step``
        raises.
        """
        watch = Stopwatch()
        reported = self.step()
        if not isinstance(reported, Mapping):
            raise TypeError(f"step() must return a dict, got {type(reported).__name__}")
        if names.RESULT_DUPLICATE in reported:
            return dict(reported)
        result = self.__context.progress.fill(
            reported, watch.seconds(), trial_id=self.trial_id, config=self.config
        )
        self.log_result(result)
        return result

    @classmethod
    def can_save(cls) -> bool:
        """Whether the class overrides ``save_checkpoint`` (or ``_save``)."""
        return _overrides(cls, "save_checkpoint", "_save")

    @classmethod
    def can_load(cls) -> bool:
        """Whether the class overrides ``load_checkpoint`` (or ``_restore``)."""
        return _overrides(cls, "load_checkpoint", "_restore")

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare training for this configuration; called once, before a checkpoint is loaded."""
        self._setup(config)

    def step(self) -> dict[str, Any]:
        """Train one iteration and return its metrics."""
        return self._train()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | str | None:
        """Save the state, and return how ``load_checkpoint`` shall get it.

        Either fill ``checkpoint_dir`` and return nothing or the directory itself, or return a path
        or file name prefix inside it, or a dictionary (kept as JSON where that is exact, else
        pickled with protocol 5).
        """
        return self._save(checkpoint_dir)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Restore the state: gets the directory, the path inside it, or the dictionary again.

        The directory goes away when this method has returned.
        """
        self._restore(checkpoint)

    def log_result(self, result: dict[str, Any]) -> None:
        """Look at a whole result, before it is judged and reported."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002 - for subclasses
        """Take another configuration without being made anew; False: that is not possible.

        Every attempt has a Pod and a Trainable of its own, so nothing calls it at present.
        """
        return False

    def cleanup(self) -> None:
        """Release what ``setup`` acquired; called when the attempt ends by itself."""
        self._stop()

    def _setup(self, config: dict[str, Any]) -> None:
        """Older name of ``setup``."""

    def _train(self) -> dict[str, Any]:
        """Older name of ``step``."""
        raise NotImplementedError(f"{type(self).__name__} must override step()")

    def _save(self, checkpoint_dir: str) -> dict[str, Any] | str | None:
        """Older name of ``save_checkpoint``."""
        raise NotImplementedError(f"{type(self).__name__} does not override save_checkpoint()")

    def _restore(self, checkpoint: Any) -> None:
        """Older name of ``load_checkpoint``."""
        raise NotImplementedError(f"{type(self).__name__} does not override load_checkpoint()")

    def _stop(self) -> None:
        """Older name of ``cleanup``."""


def _overrides(cls: type[Trainable], *methods: str) -> bool:
    return any(getattr(cls, name) is not getattr(Trainable, name) for name in methods)
