"""Port blocks: what is free, what others have, what happens when nothing is left."""

import socket

import pytest

from dev.cluster import ports
from dev.cluster.errors import ClusterError

NAMES = ("apiserver", "etcd", "minio")


def test_the_first_block_goes_to_the_first_cluster() -> None:
    chosen = ports.choose(NAMES, taken=(), free=lambda _port: True)
    assert chosen == {"apiserver": 20000, "etcd": 20001, "minio": 20002}


def test_a_block_with_one_taken_port_is_left_alone() -> None:
    assert ports.choose(NAMES, taken={20002}, free=lambda _port: True)["apiserver"] == 20010


def test_a_block_with_one_foreign_server_is_left_alone() -> None:
    chosen = ports.choose(NAMES, taken={20000}, free=lambda port: port != 20011)
    assert chosen["apiserver"] == 20020


def test_no_free_block_is_an_error() -> None:
    with pytest.raises(ClusterError, match="free ports"):
        ports.choose(NAMES, taken=(), free=lambda _port: False)


def test_a_listening_port_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)
