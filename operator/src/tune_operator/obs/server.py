"""Plain HTTP for the kubelet and Prometheus: /healthz, /readyz, /metrics. Nothing is secret."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from tune_operator.obs.health import Findings, Health
from tune_operator.obs.metrics import Metrics

_STOP_SECONDS = 1.0


class ObservabilityServer:
    """Serves one process's health and metrics. Port 0 takes a free one; `port` says which."""

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        port: int,
        host: str = "0.0.0.0",  # noqa: S104  # the kubelet asks from the node
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._address = (host, port)
        self._site: web.TCPSite | None = None
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics_page)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)

    @property
    def port(self) -> int:
        """The port that is listened on; only between start and stop."""
        if self._site is None:
            raise RuntimeError("the observability server has not been started")
        return self._site.port

    async def start(self) -> None:
        """Listens from here on. Raises OSError when the address cannot be had."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._address)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self._site = site

    async def stop(self) -> None:
        """Closes all connections."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(await self._health.liveness())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(await self._health.readiness())

    async def _metrics_page(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._metrics.render(), headers=headers)


def _answer(found: Findings) -> web.Response:
    return web.Response(status=200 if found.ok else 503, text=found.text())
