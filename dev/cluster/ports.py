"""Free ports for a cluster that shares the host's network: one block per cluster."""

import socket
from collections.abc import Callable, Collection, Sequence

from .errors import ClusterError

# Below the range the kernel hands to outgoing connections (32768 up), which could take a port
# between our choice and the server's start.
FIRST, LAST, BLOCK = 20000, 30000, 10


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(
    names: Sequence[str], taken: Collection[int], free: Callable[[int], bool]
) -> dict[str, int]:
    """One port per name out of the first block in which all are free and none is taken.

    Raises:
        ClusterError: no block is left.
    """
    if len(names) > BLOCK:
        raise ValueError(f"a block has {BLOCK} ports")
    for first in range(FIRST, LAST, BLOCK):
        ports = range(first, first + len(names))
        if not any(port in taken for port in ports) and all(free(port) for port in ports):
            return dict(zip(names, ports, strict=True))
    raise ClusterError(f"no {BLOCK} free ports in a row between {FIRST} and {LAST}")
