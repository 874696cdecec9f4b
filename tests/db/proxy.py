# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A machine between us and a server, which can lose its power or its network."""

import contextlib
import selectors
import socket
import threading
from typing import Self

_LOOK_S = 0.05


class Proxy:
    """Forwards TCP connections, until `cut`.

    Both sides see a connection that stays open and on which nothing comes any more.

    :param server: address of what is behind it.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._silent: list[socket.socket] = []
        self._is_cut = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        self._thread.join()
        for each in (self._listener, *self._peers, *self._silent):
            each.close()
        self._selector.close()

    def cut(self) -> None:
        """From now on nothing passes; new connections are not answered either."""
        with self._lock:
            self._is_cut = True
            for each in self._peers:
                self._selector.unregister(each)
            self._silent += self._peers
            self._peers.clear()

    def mend(self) -> None:
        """New connections are forwarded again; those from before stay silent."""
        with self._lock:
            self._is_cut = False

    def _run(self) -> None:
        while not self._ended.is_set():
            ready = self._selector.select(_LOOK_S)
            with self._lock:
                for key, _events in ready:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._peers:
                        self._forward(key.fileobj)

    def _accept(self) -> None:
        client, _address = self._listener.accept()
        if self._is_cut:
            self._silent.append(client)
            return
        server = socket.create_connection(self._server)
        for one, other in ((client, server), (server, client)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        target = self._peers[source]
        with contextlib.suppress(ConnectionError):
            if data := source.recv(65536):
                target.sendall(data)
                return
        for each in (source, target):  # one side has ended it
            self._selector.unregister(each)
            del self._peers[each]
            each.close()
