"""What a log line looks like, and what it never shows."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from tune_operator.obs.logging import configure, context

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
SECRET_TEXTS = [
    (f"Authorization: Bearer {TOKEN}", TOKEN),
    (f"token is {TOKEN}", TOKEN),
    ("PUT /tune/k?X-Amz-Date=1&X-Amz-Signature=0a1b2c&x=1", "0a1b2c"),
    ("GET /tune?X-Amz-Security-Token=FwoGZX%2Fabc&x=1", "FwoGZX"),
    ("-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----", "MIGH"),
]


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Restores the loggers that `configure` sets."""
    root, ours = logging.getLogger(), logging.getLogger("tune_operator")
    before = (root.handlers[:], root.level, ours.level)
    yield io.StringIO()
    root.handlers[:], level, ours_level = before
    root.setLevel(level)
    ours.setLevel(ours_level)


log = logging.getLogger("tune_operator.test")


def test_text(out: io.StringIO) -> None:
    configure("INFO", "text", out)
    with context(experiment="team-a/digits"):
        log.info("trial %s started", "00003")
    log.warning("outside")
    first, second = out.getvalue().splitlines()
    assert first[:4].isdecimal()
    assert first[10] == "T"
    assert first[19] == "."
    assert first[23:] == ("Z INFO tune_operator.test trial 00003 started experiment=team-a/digits")
    assert second.endswith("WARNING tune_operator.test outside")


def test_json(out: io.StringIO) -> None:
    configure("INFO", "json", out)
    with context(experiment="team-a/digits", level="faked"):
        log.info("started")
    line = json.loads(out.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "tune_operator.test",
        "message": "started",
        "experiment": "team-a/digits",
    }


@pytest.mark.parametrize("style", ["text", "json"])
def test_exceptions(out: io.StringIO, style: str) -> None:
    configure("INFO", style, out)
    try:
        raise ValueError(f"bad {TOKEN}")
    except ValueError:
        log.exception("failed")
    assert "Traceback" in out.getvalue()
    assert "ValueError: bad ***" in out.getvalue()


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(("text", "secret"), SECRET_TEXTS)
def test_secrets_are_blotted_out(out: io.StringIO, style: str, text: str, secret: str) -> None:
    configure("INFO", style, out)
    log.info("%s", text)
    assert secret not in out.getvalue()
    assert "***" in out.getvalue()


@pytest.mark.parametrize("style", ["text", "json"])
def test_foreign_text_cannot_forge_a_line(out: io.StringIO, style: str) -> None:
    configure("INFO", style, out)
    with context(name="a\nERROR forged"):
        log.info("%s", "x\n2026-01-01 ERROR forged\x1b[31m")
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()


async def test_tasks_have_a_context_each(out: io.StringIO) -> None:
    configure("INFO", "text", out)
    barrier = asyncio.Barrier(2)

    async def work(name: str) -> None:
        with context(experiment=name):
            await barrier.wait()
            with context(trial="1"):
                log.info("at work")

    await asyncio.gather(work("a"), work("b"))
    assert sorted(line.partition("work ")[2] for line in out.getvalue().splitlines()) == [
        "experiment=a trial=1",
        "experiment=b trial=1",
    ]


def test_debug_is_for_our_own_loggers(out: io.StringIO) -> None:
    configure("DEBUG", "text", out)
    log.debug("ours")
    logging.getLogger("urllib3.connectionpool").debug("PUT /bucket/key?signature")
    assert "ours" in out.getvalue()
    assert "PUT" not in out.getvalue()


def test_configuring_again_replaces(out: io.StringIO) -> None:
    configure("INFO", "text", io.StringIO())
    configure("ERROR", "text", out)
    log.warning("too low")
    log.error("once")
    assert out.getvalue().count("once") == 1
    assert "too low" not in out.getvalue()
