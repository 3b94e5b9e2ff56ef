"""A TCP link that ends after so many bytes, in either direction, wherever that may be."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

CHUNK = 1 << 16


@dataclass(frozen=True)
class Cut:
    """Bytes that one connection carries towards the server, or back from it."""

    upstream: bool
    after: int


class Wire:
    """Listens on a free port and forwards to an endpoint; one cut per connection, then none."""

    def __init__(self, endpoint: str, cuts: Iterator[Cut]) -> None:
        parts = urlsplit(endpoint)
        self._target = (parts.hostname or "", parts.port or 80)
        self._cuts = cuts
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.done = 0
        """Cuts that happened."""
        self.carried = 0
        """Bytes that went back."""
        self._pairs: list[_Pair] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._socket.close()
        for pair in self._pairs:
            pair.end()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            server = socket.create_connection(self._target, 10)
            server.settimeout(None)
            pair = _Pair(client, server)
            self._pairs.append(pair)
            cut = next(self._cuts, None)
            for upstream in (True, False):
                allowed = cut.after if cut and cut.upstream is upstream else None
                thread = threading.Thread(target=self._pump, args=(pair, upstream, allowed))
                self._threads.append(thread)
                thread.start()

    def _pump(self, pair: "_Pair", upstream: bool, allowed: int | None) -> None:
        source, sink = pair.ends if upstream else pair.ends[::-1]
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if allowed is not None and len(data) >= allowed:
                    sink.sendall(data[:allowed])
                    self.done += 1
                    break
                sink.sendall(data)
                if not upstream:
                    self.carried += len(data)
                if allowed is not None:
                    allowed -= len(data)
        pair.end()
        pair.pumped()


class _Pair:
    """Both ends of one connection, and how many of its two directions are still pumped."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = (client, server)
        self._pumps = 2
        self._lock = threading.Lock()

    def end(self) -> None:
        """Nothing more goes through. The pump of the other direction notices."""
        for one in self.ends:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def pumped(self) -> None:
        """One direction is over. Only closed does a socket refuse what its peer still sends: shut
        down alone it takes no more, and who sends a large body would wait for it."""
        with self._lock:
            self._pumps -= 1
            if self._pumps == 0:
                for one in self.ends:
                    one.close()
