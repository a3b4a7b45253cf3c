"""Client and AsyncClient: the same questions to a service, with and without waiting for the answer."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from eigenserve.client import exchanges
from eigenserve.client.errors import ServiceError
from eigenserve.client.exchanges import Exchange, Question, Send, model_path
from eigenserve.client.options import model_option, names_option, plain_options, strict_option
from eigenserve.client.retries import Retries, checked

DEFAULT_URL = "http://127.0.0.1:8000"


class _Questions(ABC):
    """Define the questions; a subclass says how an exchange runs, and whether its methods are awaited."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        model: str | None = None,
        version: str | int | None = None,
        key: str | None = None,
        retries: int = Retries.count,
        patience_s: float = Retries.patience_s,
        timeout_s: float = 60.0,
    ) -> None:
        """Prepare to ask a service.

        Args:
            url: of the service, with its path prefix if it has one.
            model, version: which model answers where a question names none; the service's defaults by default.
            key: the API key.
            retries: how often a request is sent again that could not be answered (429, 502, 503, no connection).
            patience_s: the longest Retry-After that is waited for.
            timeout_s: for each request.
        """
        self._defaults = {"model": model, "version": None if version is None else str(version)}
        self._retries = Retries(retries, patience_s)
        self._http = {
            "base_url": url.rstrip("/"),
            "headers": {} if key is None else {"authorization": f"Bearer {key}"},
            "timeout": timeout_s,
        }

    @abstractmethod
    def _run(self, exchange: Exchange[Any]) -> Any:
        """Send an exchange's requests and return its result."""

    def predict(
        self,
        rows: Any,
        *,
        interval: float | None = None,
        keep: Sequence[str] | None = None,
        strict: bool | Sequence[str] | None = None,
        **which: Any,
    ) -> Any:
        """Predict rows.

        Args:
            rows: a pandas or Polars DataFrame, a list of rows (mappings by feature name, or sequences in column
                order) or a 2-D array. NaN, NaT and None are missing values. A DataFrame must have every feature as a
                column; its other columns are ignored.
            interval: a level: with each prediction of a regression the bounds that hold the target so often.
            keep: names of columns, features or not, that come back with the answer; an ``id`` always does.
            strict: refuse rows that have a warning: of any kind, or of these.
            which: ``model`` and ``version``.

        Returns:
            For a DataFrame one, with the same index, what is kept and the columns ``prediction`` (``low``, ``high``),
            or ``label`` and ``probabilities.CLASS``; else a list with a prediction for each row as the service writes
            it, or where something is kept an object that has it and what is ``kept``.

        Raises:
            ServiceError: the service refuses; ``errors`` names each bad value, by its row among all.
            TypeError, ValueError: ``rows`` are not rows, or two of their columns have one name.
            httpx.TransportError: it cannot be reached.
        """
        options = {**self._defaults, **model_option(which), "interval": interval}
        options |= {"keep": names_option(keep), "strict": strict_option(strict)}
        return self._run(
            exchanges.ask(rows, Question("/predict", "predictions", options, exchanges.prediction_columns))
        )

    def explain(
        self,
        rows: Any,
        *,
        method: str | None = None,
        target: Any = None,
        reference: Any = None,
        baseline: Any = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        include: Sequence[str] | None = None,
        keep: Sequence[str] | None = None,
        strict: bool | Sequence[str] | None = None,
        **which: Any,
    ) -> Any:
        """Explain rows: score = baseline + the sum of the contributions. Arguments as for ``SpectralModel.explain``.

        Args:
            keep, strict: as for ``predict``.

        Returns:
            For a DataFrame one, with columns ``contributions.TERM`` and others; else a list of explanations.

        Raises:
            ServiceError, httpx.TransportError: as ``predict``.
        """
        options = {"method": method, "target": target, "reference": reference, "baseline": baseline, "groups": groups}
        options = {**self._defaults, **model_option(which), **plain_options(options), "include": include}
        options |= {"keep": names_option(keep), "strict": strict_option(strict)}
        return self._run(
            exchanges.ask(rows, Question("/explain", "explanations", options, exchanges.explanation_columns))
        )

    def reasons(
        self,
        rows: Any,
        *,
        cutoff: float,
        adverse: str | None = None,
        n: int | None = None,
        reference: Any = None,
        keep: Sequence[str] | None = None,
        strict: bool | Sequence[str] | None = None,
        **which: Any,
    ) -> Any:
        """Give the reasons of decisions at a cutoff. Arguments as for ``SpectralModel.reasons`` and ``predict``.

        Returns:
            For a DataFrame one, with the texts of each row's reasons as a list; else a list of the service's entries.

        Raises:
            ServiceError, httpx.TransportError: as ``predict``.
        """
        options = plain_options({"cutoff": cutoff, "adverse": adverse, "n": n, "reference": reference})
        options = {**self._defaults, **model_option(which), **options}
        options |= {"keep": names_option(keep), "strict": strict_option(strict)}
        question = Question("/reasons", "reasons", options, exchanges.reason_columns, tables=False)
        return self._run(exchanges.ask(rows, question))

    def models(self) -> Any:
        """List the models that are served."""
        return self._run(exchanges.models())

    def model(self, name: str) -> Any:
        """Describe a model: features, metrics, strengths."""
        return self._run(exchanges.get(model_path(name)))

    def drift(self, name: str) -> Any:
        """Compare what a model has predicted lately with its training, and its outcomes with its predictions."""
        return self._run(exchanges.get(model_path(name, "drift")))

    def schema(self, name: str) -> Any:
        """Return the JSON Schema of a model's rows."""
        return self._run(exchanges.get(model_path(name, "schema")))


class Client(_Questions):
    """Ask a service and wait for the answers. To be closed, or used in a ``with`` statement."""

    def __init__(self, *arguments: Any, transport: httpx.BaseTransport | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._client = httpx.Client(transport=transport, **self._http)  # type: ignore[arg-type]

    def ready(self) -> bool:
        """Return whether the service can be reached and can answer now; asked once."""
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self, exchange: Exchange[Any]) -> Any:
        try:
            request = next(exchange)
            while True:
                try:
                    response = self._send(request)
                except (ServiceError, httpx.TransportError) as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(response)
        except StopIteration as stop:
            return stop.value

    def _send(self, request: Send) -> httpx.Response:
        attempt = 0
        while True:
            response, failure = None, None
            try:
                response = self._client.request(*_arguments(request)[0], **_arguments(request)[1])
            except httpx.TransportError as error:
                failure = error
            pause = self._retries.pause(attempt, response)
            if pause is None:
                return _settled(response, failure)
            time.sleep(pause)
            attempt += 1


class AsyncClient(_Questions):
    """Ask a service without blocking the event loop: every question is awaited. To be closed by ``aclose``."""

    def __init__(self, *arguments: Any, transport: httpx.AsyncBaseTransport | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._client = httpx.AsyncClient(transport=transport, **self._http)  # type: ignore[arg-type]

    async def ready(self) -> bool:
        """Return whether the service can be reached and can answer now; asked once."""
        try:
            return (await self._client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, exchange: Exchange[Any]) -> Any:
        # Reading and writing tables takes long for many rows, and is done on a thread.
        request, result = await asyncio.to_thread(_step, exchange, None)
        while request is not None:
            outcome: httpx.Response | Exception
            try:
                outcome = await self._send(request)
            except (ServiceError, httpx.TransportError) as error:
                outcome = error
            request, result = await asyncio.to_thread(_step, exchange, outcome)
        return result

    async def _send(self, request: Send) -> httpx.Response:
        attempt = 0
        while True:
            response, failure = None, None
            try:
                response = await self._client.request(*_arguments(request)[0], **_arguments(request)[1])
            except httpx.TransportError as error:
                failure = error
            pause = self._retries.pause(attempt, response)
            if pause is None:
                return _settled(response, failure)
            await asyncio.sleep(pause)
            attempt += 1


def _arguments(request: Send) -> tuple[tuple[str, str], dict[str, Any]]:
    content = {"json": request.json} if request.json is not None else {"content": request.content}
    return (request.method, request.path), {**content, "params": request.params or None, "headers": request.headers}


def _settled(response: httpx.Response | None, failure: httpx.TransportError | None) -> httpx.Response:
    if response is None:
        assert failure is not None
        raise failure
    return checked(response)


def _step(exchange: Exchange[Any], outcome: httpx.Response | Exception | None) -> tuple[Send | None, Any]:
    """Take an exchange to its next request, or to its result."""
    try:
        if outcome is None:
            return next(exchange), None
        return (exchange.throw(outcome) if isinstance(outcome, Exception) else exchange.send(outcome)), None
    except StopIteration as stop:
        return None, stop.value
