"""Forks one process per attempt from itself, with everything imported, for the kill loop.

An order is one line of JSON on its standard input; see ``tests.integration.doomed``.
"""

import os
import signal
import sys

from tests.integration.careless import BROKEN
from tests.integration.doomed import Order, Reporter, run


def live(order: Order) -> None:
    """One attempt as its process: it tells how it ends when no signal ends it."""
    reporter = Reporter(order.report)
    reporter.say("pid", os.getpid())
    try:
        if order.broken:
            BROKEN[order.broken]()
        run(order, reporter)
    except BaseException as error:  # noqa: BLE001 - a child must never return into the loop
        reporter.say("failed", type(error).__name__, error)
    os._exit(0)


def main() -> None:
    """An attempt per line until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            live(Order.parse(line))


if __name__ == "__main__":
    main()
