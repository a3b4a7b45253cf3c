"""Take SIGTERM and SIGINT before there is a server: one that is still starting ends with exit code 0, too.

SIGHUP, by which a server looks at its store, is passed over: one that is starting is about to. Imports take over a
second, in which Python's own handlers would end the process with -15 or a traceback. This module imports nothing, so
that it can be the first thing that is run.
"""

from __future__ import annotations

import signal

STOPPING = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Remember whether the process was asked to end."""

    def __init__(self) -> None:
        self.received = False

    def catch(self) -> None:
        """Note further signals, in place of ending at once."""
        signal.signal(signal.SIGHUP, lambda *_: None)
        for number in STOPPING:
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.received = True


#: Of this process.
stop_request = StopRequest()
