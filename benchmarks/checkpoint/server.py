"""The other end, in a process of its own: raw sockets, and as much S3 as the SDK asks for.

Both keep what they get in one block of memory and do nothing else with it, so that the difference
between them is what the SDK's side costs. ``python -m benchmarks.checkpoint.server SIZE`` prints
the two ports.
"""

import re
import socket
import sys
import threading
from collections.abc import Callable

BLOCK = 1 << 18


class Memory:
    """Where uploads go and downloads come from."""

    def __init__(self, size: int) -> None:
        self.data = memoryview(bytearray(size))
        self.objects: dict[str, tuple[int, int]] = {}
        self.small: dict[str, bytes] = {}


def serve(handle: Callable[[socket.socket], None]) -> int:
    """Accept connections for ever; returns the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def raw(memory: Memory) -> Callable[[socket.socket], None]:
    """``P <start> <size>\\n`` takes bytes and answers one; ``G <start> <size>\\n`` sends them."""

    def handle(connection: socket.socket) -> None:
        stream = connection.makefile("rb", buffering=0)
        while line := stream.readline():
            verb, start, size = line.split()
            view = memory.data[int(start) : int(start) + int(size)]
            if verb == b"P":
                fill(connection, view, b"")
                connection.sendall(b".")
            else:
                send(connection, view)

    return handle


def s3(memory: Memory) -> Callable[[socket.socket], None]:
    """PUT and GET of objects, parts at ``(number - 1) * 16 MiB`` of the block."""

    def handle(connection: socket.socket) -> None:
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                data = connection.recv(65536)
                if not data:
                    return
                rest += data
            head, _, rest = rest.partition(b"\r\n\r\n")
            text = head.decode()
            method, path, _ = text.split("\r\n", 1)[0].split(" ")
            length = number(r"content-length: (\d+)", text)
            part = number(r"partNumber=(\d+)", path)
            key = path.partition("?")[0]
            if method == "PUT" and (part or length >= 1 << 20):
                start = max(0, part - 1) * (16 << 20)
                rest = fill(connection, memory.data[start : start + length], rest)
                known = memory.objects.get(key, (0, 0))[1]
                memory.objects[key] = (0, max(known, start + length))
                answer(connection, b"", 'ETag: "1"\r\n')
                continue
            body = memoryview(bytearray(length))
            rest = fill(connection, body, rest)
            if method == "PUT":
                memory.small[key] = bytes(body)
                answer(connection, b"", 'ETag: "1"\r\n')
            elif method == "POST":
                answer(connection, b"<UploadId>1</UploadId>")
            elif key in memory.small:
                answer(connection, memory.small[key])
            else:
                total = memory.objects[key][1]
                start, end = map(int, re.findall(r"(?i)bytes=(\d+)-(\d+)", text)[0])
                view = memory.data[start : end + 1]
                ranged = f"Content-Range: bytes {start}-{end}/{total}\r\n"
                answer(connection, view, ranged, "206 Partial Content")

    return handle


def number(pattern: str, text: str) -> int:
    """The number a pattern finds, 0 without."""
    found = re.search(pattern, text, re.IGNORECASE)
    return int(found[1]) if found else 0


def answer(
    connection: socket.socket, body: bytes | memoryview, more: str = "", status: str = "200 OK"
) -> None:
    """Send a whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    connection.sendall(head.encode())
    send(connection, memoryview(body))


def send(connection: socket.socket, view: memoryview) -> None:
    """Send in blocks."""
    for start in range(0, len(view), BLOCK):
        connection.sendall(view[start : start + BLOCK])


def fill(connection: socket.socket, view: memoryview, begun: bytes) -> bytes:
    """Take in exactly this much, of which some has come already; returns what came beyond."""
    count = min(len(begun), len(view))
    view[:count] = begun[:count]
    while count < len(view):
        got = connection.recv_into(view[count : count + BLOCK])
        if not got:
            raise ConnectionError
        count += got
    return begun[len(view) :] if len(begun) > len(view) else b""


def main() -> None:
    """Print the ports, then serve until standard input ends."""
    memory = Memory(int(sys.argv[1]))
    memory.data[:] = b"\1" * len(memory.data)  # its pages exist before anything is measured
    print(serve(raw(memory)), serve(s3(memory)), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
