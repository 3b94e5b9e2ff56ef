"""The one error that parsing foreign bytes can raise."""


class ProtocolError(ValueError):
    """A document that does not say what the protocol demands; the text names the field."""
