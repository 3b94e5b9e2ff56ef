"""Waiting for a kind to be served: a chart creates its CRD and its Deployment at the same time.

Kopf looks once, at its start, which kinds there are, unless it may watch all CRDs of the cluster; a
kind that comes a second later it would never see.
"""

import logging

from tune_operator.kube.client import Kube
from tune_operator.kube.errors import KubeError
from tune_operator.kube.resources import Resource
from tune_operator.runtime.clock import Clock

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0


async def served(kube: Kube, kind: Resource, clock: Clock) -> None:
    """Return once discovery shows `kind`. Errors of the API server are logged and waited out."""
    told = ""
    while True:
        try:
            if await kube.serves(kind):
                return
            problem = f"there is no CRD {kind.plural}.{kind.group} yet: install the chart's"
        except KubeError as error:
            problem = str(error)
        if problem != told:
            logger.warning("waiting: %s", problem)
            told = problem
        await clock.sleep(PAUSE_SECONDS)
