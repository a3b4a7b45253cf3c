"""Load the models when the service starts, and look at the store from then on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from eigenserve.app.problems import ProblemError
from eigenserve.app.registry.registry import ModelRegistry
from eigenserve.app.registry.routing import missing_versions
from eigenserve.app.registry.served import ServedModel
from eigenserve.model import CheckpointError
from eigenserve.model.checkpoints.local_store import ModelNotFoundError

log = logging.getLogger("eigenserve.registry")

#: How often a worker looks whether all workers shall look at the store now, and whether it may serve.
TURN_S = 0.1
#: After a request to load or unload a model, how long the other workers may take to follow.
FOLLOW_S = 15.0
#: When the service ends, how long a look at the store may still take.
END_S = 0.5

T = TypeVar("T")


class StoreWatch:
    """Read the store for a service, on one thread and one piece of work at a time.

    Attributes:
        failure: why the models could not be loaded at the start, if so.
        log_failure: whether ``failure`` goes to the log; not where the command line reports it.
        busy: whether the store is being read.
    """

    def __init__(self, registry: ModelRegistry, interval_s: float, on_ready: Callable[[], None]) -> None:
        self.registry = registry
        self.failure: Exception | None = None
        self.log_failure = True
        self._interval_s = interval_s
        self._on_ready = on_ready
        self._outage: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()
        self._look_wanted = False
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A store that never answers, as one on a network may, must not keep the process from ending.
        self._thread = threading.Thread(target=self._turn, name="store", daemon=True)

    @property
    def busy(self) -> bool:
        """Return whether the thread is still at work."""
        return self._thread.is_alive()

    async def start(self, wait: bool) -> None:
        """Begin to load the models, and then to watch the store.

        Args:
            wait: return when they are loaded, or when the service is to end.
        """
        self._thread.start()
        loading = asyncio.create_task(self._load())
        self._tasks = [loading, asyncio.create_task(self._watch(loading))]
        if wait:
            ending = asyncio.create_task(self._ending.wait())
            await asyncio.wait([loading, ending], return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()

    def look_soon(self) -> None:
        """Look for what is new in the store at once; a signal handler may call it."""
        self._look_wanted = True

    def end(self) -> None:
        """Let ``start`` wait no longer."""
        self._ending.set()

    async def stop(self) -> None:
        """Let go of tasks and of the thread, if it lets go of the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._thread.is_alive():
            self._work.put(None)
            await asyncio.to_thread(self._thread.join, END_S)

    async def load(self, name: str) -> None:
        """Load a model's versions, and let all workers do so.

        Raises:
            ModelNotFoundError: the store has no such model.
            ProblemError: 400 none of its versions can be loaded; 503 the store cannot be read, or another worker did
                not follow.
        """
        try:
            newest = await self._run(lambda: self.registry.load(name))
        except CheckpointError as error:
            raise ProblemError(400, str(error)) from error
        except OSError as error:
            raise ProblemError(503, f"the store cannot be read: {error}", headers={"Retry-After": "10"}) from error

        def served() -> bool:
            model = self.registry.served.get(name, {}).get(newest.version)
            return model is not None and model.digest == newest.digest

        await self._follow(served)

    async def unload(self, name: str) -> None:
        """Stop serving a model until it is loaded again, in all workers.

        Raises:
            ModelNotFoundError: it is not served.
            ProblemError: 503 the other workers do not follow.
        """
        self.registry.unload(name)
        await self._follow(lambda: name not in self.registry.served)

    async def promote(self, name: str, version: str | int | None) -> ServedModel:
        """Let a version answer requests that name none, in all workers; None for the newest.

        Returns:
            The version that answers them now.

        Raises:
            ProblemError: 404 no such model or version; 503 the workers do not follow.
        """
        await self._follow(self.registry.promote(name, version))
        # Not ``find``: the answer to the call, unlike one to a request, is no business of chance.
        served = self.registry.defaults().get(name)
        if served is None:
            raise ProblemError(404, f"no model {name!r} any longer")
        return served

    async def _follow(self, condition: Callable[[], bool]) -> None:
        """Wait for an agreement."""
        try:
            async with asyncio.timeout(FOLLOW_S):
                while not condition():
                    await asyncio.sleep(TURN_S / 10)
        except TimeoutError:
            detail = "done in this worker, but not all of the others have followed"
            raise ProblemError(503, detail, headers={"Retry-After": "5"}) from None

    async def _run(self, work: Callable[[], T]) -> T:
        """Run what reads the store on its thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def hand_over(give: Callable[[Any], None], result: object) -> None:
            if not future.cancelled():
                give(result)

        def run() -> None:
            try:
                result: object = work()
                give: Callable[[Any], None] = future.set_result
            except Exception as error:
                result, give = error, future.set_exception
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(hand_over, give, result)

        self._work.put(run)
        return await future

    def _turn(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    async def _load(self) -> None:
        try:
            await self._run(self.registry.load_all)
            while not self.registry.ready:
                # The others may have agreed on something else since.
                await asyncio.sleep(TURN_S)
                if not self.registry.ready:
                    await self._look()
        except (ModelNotFoundError, CheckpointError, OSError) as error:
            self.failure = error
            if self.log_failure:
                log.error("the models cannot be served", extra={"reason": str(error)})
        except Exception as error:
            self.failure = error
            log.exception("the models cannot be served")
        else:
            self._on_ready()
            log.info("ready", extra={"models": list(self.registry.served)})
            for missing in missing_versions(self.registry.routing, self.registry.served):
                log.warning(missing)

    async def _watch(self, loading: asyncio.Task[None]) -> None:
        await asyncio.wait([loading])
        looks = self.registry.peers.agreement.looks
        while self.failure is None:
            waited_s = 0.0
            while (
                looks == self.registry.peers.agreement.looks
                and not 0 < self._interval_s <= waited_s
                and not self._look_wanted
            ):
                turn_s = min(TURN_S, self._interval_s or TURN_S)
                await asyncio.sleep(turn_s)
                waited_s += turn_s
            looks, self._look_wanted = self.registry.peers.agreement.looks, False
            await self._look()

    async def _look(self) -> None:
        try:
            await self._run(self.registry.look)
        except OSError as error:
            if self._outage != str(error):
                log.error("the store cannot be read", extra={"reason": str(error)})
            self._outage = str(error)
        except Exception:
            # Whatever it is, the next look may find it mended; what is served is not touched.
            log.exception("looking at the store failed")
        else:
            if self._outage is not None:
                log.info("the store can be read again")
            self._outage = None
