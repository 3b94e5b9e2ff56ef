"""Checks of every kind, and what the probes see of them."""

import asyncio

import aiohttp
import pytest

from tune_operator.obs import health as module
from tune_operator.obs.health import Health
from tune_operator.obs.metrics import Metrics
from tune_operator.obs.server import ObservabilityServer


def well() -> None:
    return None


async def also_well() -> None:
    await asyncio.sleep(0)


def ill() -> str:
    return "the watch has been silent for 95 s"


async def also_ill() -> str:
    return "not the leader"


def broken() -> str:
    raise ZeroDivisionError("x / 0")


async def test_without_checks_all_is_well() -> None:
    assert (await Health().readiness()).ok


async def test_reasons_come_by_name() -> None:
    health = Health()
    for name, check in {"a": well, "b": also_well, "c": ill, "d": also_ill, "e": broken}.items():
        health.live(name, check)
    found = await health.liveness()
    assert not found.ok
    assert found.checks == (
        ("a", None),
        ("b", None),
        ("c", "the watch has been silent for 95 s"),
        ("d", "not the leader"),
        ("e", "check failed: ZeroDivisionError: x / 0"),
    )


async def test_a_check_that_hangs_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)

    async def hang() -> None:
        await asyncio.Event().wait()

    health = Health()
    health.live("hang", hang)
    assert (await health.liveness()).checks == (("hang", "no answer within 0.01 s"),)


async def test_what_is_not_ready_may_live_and_what_does_not_live_is_not_ready() -> None:
    health = Health()
    health.ready("leader", also_ill)
    assert (await health.liveness()).ok
    assert not (await health.readiness()).ok
    health = Health()
    health.live("loop", ill)
    assert not (await health.readiness()).ok


async def test_a_check_does_not_hide_another_of_its_name() -> None:
    health = Health()
    health.live("pods", ill)
    health.ready("pods", well)
    assert not (await health.readiness()).ok


async def test_the_probes() -> None:
    health, metrics = Health(), Metrics()
    health.live("loop", well)
    health.ready("leader", also_ill)
    metrics.leader.set(1)
    server = ObservabilityServer(health, metrics, 0, host="127.0.0.1")
    await server.start()
    url = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{url}/healthz") as response:
            assert (response.status, await response.text()) == (200, "loop: ok\nok\n")
        async with client.get(f"{url}/readyz") as response:
            assert response.status == 503
            assert await response.text() == "loop: ok\nleader: not the leader\nnot ok\n"
        async with client.get(f"{url}/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            assert "tune_leader 1.0" in await response.text()
        async with client.get(f"{url}/other") as response:
            assert response.status == 404
    second = ObservabilityServer(health, metrics, server.port, host="127.0.0.1")
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await server.stop()
