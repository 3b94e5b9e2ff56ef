"""The one way a step of the demo fails: what did not work, and what to do about it."""


class StepFailed(Exception):
    """A step did not do what it promises. The message is for the reader of the terminal."""
