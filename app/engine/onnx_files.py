"""Export served models as ONNX files on their first request, and keep them within a bound."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal

from eigenserve.app.problems import ProblemError
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.downloads import Download

log = logging.getLogger("eigenserve.onnx")

Precision = Literal["float64", "float32"]

MEDIA_TYPE = "application/octet-stream"
#: Kept together. The demo model with explanations has 5 MB, so this holds both precisions of several models.
MAX_BYTES = 64 * 2**20
#: Requests that may wait for a file, which takes some seconds to make; more are refused with 503.
MAX_WAITING = 8

_Key = tuple[ServedModel, bool, Precision]


class OnnxFiles:
    """Export models, one at a time, on a separate thread.

    A file is kept under its model as it was loaded, not under its name: a version that was removed and written
    again is another model, whatever of it has changed.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._kept: dict[_Key, Download] = {}
        self._making: dict[_Key, asyncio.Future[Download]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="onnx")

    async def get(self, served: ServedModel, explain: bool, precision: Precision) -> Download:
        """Return the file of a model.

        Raises:
            ProblemError: 501 onnx or onnxruntime is not installed; 422 a model that has no such file; 500 the
                file does not agree with the model; 503 too many are being made; 504
                not done in time (it is continued, and kept).
        """
        key = (served, explain, precision)
        kept = self._kept.pop(key, None)
        if kept is not None:
            # The newest last: those that nobody asks for go first.
            self._kept[key] = kept
            return kept
        making = self._making.get(key)
        if making is None:
            if len(self._making) >= MAX_WAITING:
                raise ProblemError(503, "too many files are being made; try again in 5 s", headers={"Retry-After": "5"})
            loop = asyncio.get_running_loop()
            making = self._making[key] = loop.run_in_executor(self._thread, _make, key)
            making.add_done_callback(partial(self._keep, key))
        try:
            async with asyncio.timeout(self.timeout_s):
                # It is made for all who wait for it.
                return await asyncio.shield(making)
        except TimeoutError:
            raise ProblemError(
                504, f"the file was not made within {self.timeout_s:g} seconds; ask for it again"
            ) from None

    def close(self) -> None:
        """Let the thread go when it is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _keep(self, key: _Key, making: asyncio.Future[Download]) -> None:
        del self._making[key]
        if making.cancelled() or making.exception() is not None:
            return
        self._kept[key] = making.result()
        while self._kept and sum(len(file.content) for file in self._kept.values()) > MAX_BYTES:
            del self._kept[next(iter(self._kept))]


def _make(key: _Key) -> Download:
    return Download(_export(*key), MEDIA_TYPE)


def _export(served: ServedModel, explain: bool, precision: Precision) -> bytes:
    # Imported when the first file is asked for: both packages take 100 MB that other servers need not pay.
    try:
        import onnxruntime  # noqa: F401 (without it the check of the file would fail, as if it were wrong)

        from eigenserve.model.onnx import ExportSettings, OnnxError, onnx_bytes
    except ImportError as error:
        raise ProblemError(
            501,
            f"ONNX files need the package {error.name}, which is not installed here: pip install 'eigenserve[onnx]'",
        ) from None
    try:
        return onnx_bytes(served.model, ExportSettings(explain=explain, precision=precision))
    except ValueError as error:
        raise ProblemError(422, f"{served.name} has no such ONNX file: {error}") from None
    except OnnxError as error:
        log.error(
            "ONNX file not handed out",
            extra={"model": served.name, "version": served.version, "reason": str(error)},
        )
        raise ProblemError(500, f"the ONNX file was made, but must not be used: {error}") from None
