"""The service's address: taken once, shared by its workers, refused to everyone else."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from inferctl.errors import StartError
from inferctl.supervisor import listen as listen_module
from inferctl.supervisor.listen import listen

HOST = "127.0.0.1"


@contextmanager
def listening(host: str = HOST, port: int = 0, workers: int = 1) -> Iterator[list[socket.socket]]:
    sockets = listen(host, port, workers)
    try:
        yield sockets
    finally:
        close(sockets)


def close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def refusal(host: str, port: int, workers: int = 1) -> StartError:
    with pytest.raises(StartError) as caught:
        close(listen(host, port, workers))
    assert caught.value.exit_code == 3
    assert caught.value.where == f"{host}:{port}"
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("workers", [1, 3])
def test_port_0_takes_a_free_one_for_all(workers: int) -> None:
    with listening(workers=workers) as sockets:
        assert len(sockets) == workers
        (port,) = {port_of(sock) for sock in sockets}
        assert port > 0


@pytest.mark.parametrize("workers", [1, 3])
def test_a_port_that_was_asked_for_is_taken(workers: int) -> None:
    with listening() as sockets:
        port = port_of(sockets[0])
    with listening(port=port, workers=workers) as sockets:
        assert {port_of(sock) for sock in sockets} == {port}


def test_every_client_reaches_one_of_the_workers() -> None:
    with listening(workers=3) as sockets:
        clients = [socket.create_connection(sockets[0].getsockname()) for _ in range(60)]
        addresses = {client.getsockname() for client in clients}
        reached = []
        for sock in sockets:
            sock.setblocking(False)
            reached.append(accept_all(sock))
        close(clients)
    assert set.union(*reached) == addresses
    assert sum(map(len, reached)) == 60
    if os.uname().sysname == "Linux":
        assert all(reached), "the kernel spreads the clients"


def accept_all(sock: socket.socket) -> set[object]:
    clients: set[object] = set()
    while True:
        try:
            connection, address = sock.accept()
        except BlockingIOError:
            return clients
        connection.close()
        clients.add(address)


def test_a_worker_s_socket_outlives_a_descriptor_of_it() -> None:
    with listening() as sockets:
        sockets[0].dup().close()
        socket.create_connection(sockets[0].getsockname()).close()


@pytest.mark.row(118)
@pytest.mark.parametrize("workers", [1, 2])
def test_the_port_of_another_program_is_refused(workers: int) -> None:
    with socket.create_server((HOST, 0)) as other:
        error = refusal(HOST, port_of(other), workers)
    assert error.what == "cannot listen: address already in use"
    assert "--port" in error.hint


@pytest.mark.row(118)
@pytest.mark.parametrize("workers", [1, 2])
def test_the_port_of_another_service_of_ours_is_refused(workers: int) -> None:
    with listening(workers=2) as sockets:
        error = refusal(HOST, port_of(sockets[0]), workers)
    assert "in use" in error.what


def test_a_port_that_is_free_again_can_be_had_at_once() -> None:
    """Its old connections are still in TIME_WAIT."""
    with listening() as sockets:
        address = sockets[0].getsockname()
        client = socket.create_connection(address)
        connection, _ = sockets[0].accept()
        connection.close()
        client.close()
    with listening(port=address[1]) as sockets:
        assert sockets[0].getsockname() == address


def test_ipv6_is_listened_on() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback on this machine")
    with listening("::1", workers=2) as sockets:
        assert {sock.family for sock in sockets} == {socket.AF_INET6}
        socket.create_connection(sockets[0].getsockname()[:2]).close()


@pytest.mark.row(118)
@pytest.mark.parametrize("host", ["no-such-host.invalid", "256.1.1.1", "a b"])
def test_a_host_that_does_not_exist_is_refused(host: str) -> None:
    assert "--host" in refusal(host, 0).hint


@pytest.mark.row(118)
def test_an_address_of_another_machine_is_refused() -> None:
    assert "--host" in refusal("192.0.2.1", 0).hint


@pytest.mark.row(118)
def test_a_port_for_the_privileged_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, to whom the system refuses no port."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert "1024" in refusal(HOST, 80).hint


def test_a_failure_halfway_leaves_the_port_free(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = socket.socket.bind
    bound: list[int] = []

    def bind_once(sock: socket.socket, address: tuple[str, int]) -> None:
        if bound:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        bind(sock, address)
        bound.append(port_of(sock))

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "bind", bind_once)
        refusal(HOST, 0, workers=3)
    with listening(port=bound[0]):
        pass


def test_elsewhere_than_on_linux_the_workers_share_one_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listen_module, "SPREADS", False)
    with listening(workers=3) as sockets:
        assert len({port_of(sock) for sock in sockets}) == 1
        assert len({sock.fileno() for sock in sockets}) == 3
        sockets[0].close()
        socket.create_connection(sockets[1].getsockname()).close()
