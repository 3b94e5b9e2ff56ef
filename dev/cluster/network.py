"""A real cluster's network: a namespace of its own, joined to the host by one veth pair.

All servers and the node live in it. So several clusters have the usual ports and their own
iptables chains side by side, and removing the namespace removes all of that. There is no way out
to other networks: what a test needs from outside is a mistake that shows at once.
"""

import subprocess
from pathlib import Path

from .errors import ClusterError
from .plan import Plan


def interface(plan: Plan) -> str:
    """The host's end of the pair."""
    return f"tune{plan.slot}"


def ensure(plan: Plan) -> None:
    """Create what is missing; every command may be repeated."""
    if not Path(f"/run/netns/{plan.namespace}").exists():
        _ip("netns", "add", plan.namespace)
    inside = ["-n", plan.namespace]
    if not Path(f"/sys/class/net/{interface(plan)}").exists():
        pair = ["type", "veth", "peer", "name", "eth0", "netns", plan.namespace]
        _ip("link", "add", interface(plan), *pair)
    _ip("address", "replace", f"{plan.gateway}/30", "dev", interface(plan))
    _ip("link", "set", interface(plan), "up")
    _ip(*inside, "address", "replace", f"{plan.host}/30", "dev", "eth0")
    _ip(*inside, "link", "set", "eth0", "up")
    _ip(*inside, "link", "set", "lo", "up")
    # A process of the node reaches a Service only where a route exists before the translation.
    _ip(*inside, "route", "replace", plan.services, "via", plan.gateway)
    for network in (plan.pods, plan.services):
        _ip("route", "replace", network, "via", plan.host, "dev", interface(plan))
    forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    _run("nsenter", f"--net=/run/netns/{plan.namespace}", "--", "sh", "-c", forward)


def remove(plan: Plan) -> None:
    """Remove the namespace; the pair, the routes and the iptables chains go with it."""
    if Path(f"/sys/class/net/{interface(plan)}").exists():
        _ip("link", "delete", interface(plan))
    if Path(f"/run/netns/{plan.namespace}").exists():
        _ip("netns", "delete", plan.namespace)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
