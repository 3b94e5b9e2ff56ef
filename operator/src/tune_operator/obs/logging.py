"""Log lines for people (text) and for machines (json), with the context of the task that wrote.

No line holds a token, a signed URL or another line: what looks like one is blotted out, and control
characters of foreign texts are escaped.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

_context: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039
_SECRETS = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JSON web token
    r"|(?i:(?<=bearer )\S+|(?<=x-amz-signature=)\w+|(?<=x-amz-security-token=)[^&\s]+)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@contextmanager
def context(**fields: str) -> Iterator[None]:
    """Adds key=value pairs to every line this task, and tasks it starts, write inside the block."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class TextFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.000Z INFO tune_operator.app message key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback follows on lines of its own."""
        pairs = "".join(f" {key}={value}" for key, value in _context.get().items())
        text = _CONTROL.sub(lambda match: repr(match[0])[1:-1], record.getMessage() + pairs)
        line = f"{_time(record)} {record.levelname} {record.name} {text}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return _SECRETS.sub("***", line)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, the context, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. Fields of ours win over a context of the same name."""
        fields = {
            **_context.get(),
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _SECRETS.sub("***", record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = _SECRETS.sub("***", self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


def configure(level: str, style: str, stream: TextIO | None = None) -> None:
    """Sets up the root logger once, at start; `style` is "text" or "json".

    A level below INFO holds for the operator's own loggers only: at DEBUG the libraries write whole
    requests and answers, Secrets among them.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    number = logging.getLevelNamesMapping()[level]
    root.setLevel(max(number, logging.INFO))
    logging.getLogger("tune_operator").setLevel(number)
    # Kopf writes a line for every event, and warns that it leaves signals alone, as it should.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z"
