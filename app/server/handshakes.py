"""Accept TLS connections: bound how many handshakes are under way, and how long each may take."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

log = logging.getLogger("eigenserve.server")

#: A connection takes 0.3 MB of buffers before its handshake ends (measured), which an honest client's does within two
#: turns of the network.
MAX_HANDSHAKES = 256
HANDSHAKE_TIMEOUT_S = 10.0
#: Accepted in one turn of the event loop.
MAX_ACCEPTED = 64
#: Without files or memory for another connection, how long none is accepted.
PAUSE_S = 1.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TlsServer:
    """Listen for TLS connections; has what uvicorn asks of a server of the event loop.

    Beyond ``MAX_HANDSHAKES`` the one that has lasted longest makes room: so who begins many and ends none keeps nobody
    out whose handshake takes less time than they need for ``MAX_HANDSHAKES`` others.

    Attributes:
        sockets: the one that it listens on; none once it is closed.
    """

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self.sockets: Sequence[socket.socket] = (listener,)
        self._context, self._protocol = context, protocol
        self._under_way: dict[asyncio.Task[None], None] = {}
        self._loop = asyncio.get_running_loop()
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more connections; those whose handshakes are under way may end them."""
        for listener in self.sockets:
            self._loop.remove_reader(listener)
            listener.close()
        self.sockets = ()

    async def wait_closed(self) -> None:
        """Wait for no handshake: those that are left end with the event loop."""

    def _listen(self) -> None:
        for listener in self.sockets:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(MAX_ACCEPTED):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.error("no connections are accepted for a moment", extra={"reason": error.strerror})
                self._loop.remove_reader(listener)
                self._loop.call_later(PAUSE_S, self._listen)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._shake_hands(connection))
            self._under_way[task] = None
            task.add_done_callback(lambda task: self._under_way.pop(task, None))
            if len(self._under_way) > MAX_HANDSHAKES:
                oldest = next(iter(self._under_way))
                self._under_way.pop(oldest)
                oldest.cancel()

    async def _shake_hands(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except OSError:  # what is not TLS, is too slow, ends before its time, or has no certificate that is known
            connection.close()
        except asyncio.CancelledError:
            connection.close()
