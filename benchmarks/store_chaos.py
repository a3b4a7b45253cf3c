"""Chaos in the store of a running server: half copies, damage, deletions, outages, and workers that are killed.

    python -m benchmarks.store_chaos [--model models/housing] [--seconds 60] [--workers 2] [--interval 2] [--seed 0]

Meanwhile one client per model asks for a prediction on a new connection each time, so that any worker may answer. It
knows the prediction of every version to the last bit, and which versions may answer at that moment: once one answer
came from the version that an event leads to, none may come from the one before.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.service import ROOT, feature_rows, free_port, wait_for_server
from eigenserve.model import ModelStore, load_model
from eigenserve.model.checkpoints.files import DOCUMENT, WEIGHTS
from eigenserve.model.spectral import SpectralModel

#: The version and the prediction of an answer; None where the model is not served.
Answer = tuple[str, float] | None
#: Beyond two looks, how long a version may take to be read, built, tried, offered and agreed on.
SLACK_S = 3.0
#: A version that no other follows, as someone may make it by mistake.
ABSURD = 999_999_999


@dataclass
class Client:
    """Asks for one model's prediction all the time.

    Attributes:
        allowed: what may be answered now; the last of it is what answers shall come to.
        wrong: answers that were not allowed, and requests that were not answered.
        forgiven: until when a lost connection is the fault of a worker that was killed.
    """

    port: int
    name: str
    row: dict[str, Any]
    allowed: list[Answer]
    answers: int = 0
    lost: int = 0
    forgiven: float = 0.0
    wrong: list[str] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, answer: Answer) -> None:
        """Allow what answers now and ``answer``, until that has come."""
        with self._lock:
            self.allowed = [self.allowed[-1], answer]
            self.arrived.clear()

    def ask(self) -> None:
        """Send one request and judge its answer."""
        body = json.dumps({"model": self.name, "instances": [self.row]})
        try:
            status, content = request(self.port, "POST", "/predict", body)
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() < self.forgiven:
                self.lost += 1
            else:
                self.wrong.append(f"{self.name}: {type(error).__name__}: {error}")
            return
        answer: Answer = None
        if status == 200:
            document = json.loads(content)
            answer = (document["version"], document["predictions"][0])
        elif status != 404:
            self.wrong.append(f"{self.name}: status {status}: {content[:200]!r}")
            return
        with self._lock:
            self.answers += 1
            if answer not in self.allowed:
                self.wrong.append(f"{self.name}: {answer} where {self.allowed} may answer")
            elif answer == self.allowed[-1]:
                self.allowed = [answer]
                self.arrived.set()


@dataclass
class Chaos:
    """The store, what it shall come to, and what is done to it.

    Attributes:
        started: workers that have been started.
        times_s: event -> how long answers took to follow, for events that change what shall be answered.
        late: events whose version did not answer within two looks.
        unready: answers of /readyz other than 200.
    """

    store: ModelStore
    model: SpectralModel
    row: dict[str, Any]
    port: int = 0
    server: int = 0
    log: Path = Path()
    interval_s: float = 0.0
    random: random.Random = field(default_factory=random.Random)
    clients: dict[str, Client] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    times_s: dict[str, list[float]] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    started: int = 0
    _made: int = 0

    def make(self, name: str, place: Path) -> Answer:
        """Write a version that predicts as no other does, whole, and return what it answers as."""
        self._made += 1
        ensemble = replace(self.model.ensemble, offset=self.model.ensemble.offset + 0.001 * self._made)
        with tempfile.TemporaryDirectory() as folder:
            draft = ModelStore(Path(folder))
            model = draft.save(name, replace(self.model, ensemble=ensemble), first=int(place.name.strip("._")))
            place.parent.mkdir(exist_ok=True)
            shutil.copytree(draft.root / name / str(model.card["version"]), place)
        value = float(model.predict([self.row])[0])
        return str(model.card["version"]), value

    def newest(self, name: str) -> int:
        """The newest version that shall be served."""
        answer = self.clients[name].allowed[-1]
        return 0 if answer is None else int(answer[0])

    def version(self, name: str, number: int) -> Path:
        """The folder of a version."""
        return self.store.root / name / str(number)

    def look(self, count: float) -> None:
        """Wait for so many looks of the server."""
        time.sleep(count * self.interval_s)

    def follow(self, event: str, name: str, answer: Answer) -> None:
        """Wait until a model answers so, two looks and the slack at most."""
        started = time.monotonic()
        client = self.clients[name]
        if not client.arrived.wait(2 * self.interval_s + SLACK_S):
            self.late.append(f"{event} of {name}: {answer} does not answer, but {client.allowed}")
            client.arrived.wait(20)
        self.times_s.setdefault(event, []).append(time.monotonic() - started)


def half_copy(chaos: Chaos, name: str, first: str = DOCUMENT) -> None:
    """Copy a version so slowly that looks see every stage of it."""
    number = chaos.newest(name) + 1
    whole = chaos.store.root / ".whole" / str(number)
    answer = chaos.make(name, whole)
    chaos.clients[name].expect(answer)
    place = chaos.version(name, number)
    place.mkdir(parents=True)
    second = WEIGHTS if first == DOCUMENT else DOCUMENT
    shutil.copy(whole / first, place / first)
    chaos.look(1.2)
    content = (whole / second).read_bytes()
    with (place / second).open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        chaos.look(1.2)
        file.write(content[len(content) // 2 :])
    shutil.rmtree(whole)
    chaos.follow("half_copy", name, answer)


def half_copy_weights_first(chaos: Chaos, name: str) -> None:
    """As ``half_copy``, in the other order."""
    half_copy(chaos, name, WEIGHTS)


def whole_version(chaos: Chaos, name: str) -> None:
    """Let a version appear whole."""
    number = chaos.newest(name) + 1
    whole = chaos.store.root / ".whole" / str(number)
    answer = chaos.make(name, whole)
    chaos.clients[name].expect(answer)
    chaos.version(name, number).parent.mkdir(exist_ok=True)
    whole.rename(chaos.version(name, number))
    chaos.follow("whole_version", name, answer)


def bad_version(chaos: Chaos, name: str) -> None:
    """Leave a version there that cannot be loaded; a good one with a lower number still comes up."""
    place = chaos.store.root / ".bad" / str(ABSURD - chaos.events["bad_version"])
    chaos.make(name, place)
    document, weights = place / DOCUMENT, place / WEIGHTS
    text = document.read_text()
    damages: list[Callable[[], object]] = [
        lambda: weights.write_bytes(weights.read_bytes()[:-7]),
        lambda: sign(document, text.replace('"eig_idx": ', '"eig_idx": 1' + 400 * "0")),
        lambda: document.write_text("[" * 100_000),
        lambda: document.write_text(text.replace("}", "", 1)),
        lambda: (document.unlink(), os.mkfifo(document)),
        lambda: (document.unlink(), document.mkdir()),
        lambda: os.truncate(weights, 2**31),
        lambda: (document.unlink(), document.symlink_to("/dev/zero")),
        lambda: (document.unlink(), weights.unlink()),
    ]
    damages[chaos.events["bad_version"] % len(damages)]()
    place.rename(chaos.version(name, int(place.name)))
    chaos.look(1.5)
    whole_version(chaos, name)


def sign(document: Path, text: str) -> None:
    """Write a document that was changed, with the hash that it would have if it had been made so."""
    unsigned = re.sub(r'("document_sha256": )"[0-9a-f]*"', r'\1""', text)
    digest = hashlib.sha256(unsigned.encode()).hexdigest()
    document.write_text(unsigned.replace('"document_sha256": ""', f'"document_sha256": "{digest}"'))


def deleted_version(chaos: Chaos, name: str) -> None:
    """Roll back by deleting the newest version; there is one before it."""
    whole_version(chaos, name)
    before = chaos.clients[name].allowed[-1]
    whole_version(chaos, name)
    chaos.clients[name].expect(before)
    shutil.rmtree(chaos.version(name, int(chaos.clients[name].allowed[0][0])))  # type: ignore[index]
    chaos.follow("deleted_version", name, before)


def damaged_in_place(chaos: Chaos, name: str) -> None:
    """Damage what is served, and mend it: what was loaded goes on."""
    weights = chaos.version(name, chaos.newest(name)) / WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(content[:100])
    chaos.look(2.5)
    weights.write_bytes(content)
    chaos.look(1.5)


def replaced_version(chaos: Chaos, name: str) -> None:
    """Put other content under the number that is served."""
    number = chaos.newest(name)
    whole, old = chaos.store.root / ".whole" / str(number), chaos.store.root / ".old"
    answer = chaos.make(name, whole)
    chaos.clients[name].expect(answer)
    chaos.version(name, number).rename(old)
    whole.rename(chaos.version(name, number))
    shutil.rmtree(old)
    chaos.follow("replaced_version", name, answer)


def vanished_root(chaos: Chaos, name: str) -> None:
    """Take the whole store away for a while."""
    root = chaos.store.root
    away = root.with_name("away")
    root.rename(away)
    chaos.look(2.5)
    away.rename(root)
    whole_version(chaos, name)


def unmounted_root(chaos: Chaos, name: str) -> None:
    """Leave an empty folder in the store's place for a while, as a volume that is not mounted does."""
    root = chaos.store.root
    away = root.with_name("away")
    root.rename(away)
    root.mkdir()
    chaos.look(3.5)
    root.rmdir()
    away.rename(root)
    whole_version(chaos, name)


def returning_root(chaos: Chaos, name: str) -> None:
    """Remove the store and let another folder take its place, into which the models come one at a time."""
    root = chaos.store.root
    away = root.with_name("away")
    root.rename(away)
    chaos.look(1.2)
    root.mkdir()
    for model in sorted(away.iterdir()):
        chaos.look(1.2)
        model.rename(root / model.name)
    away.rmdir()
    whole_version(chaos, name)


def removed_model(chaos: Chaos, name: str) -> None:
    """Remove a model for good; the others are not touched. Then it comes again."""
    place = chaos.store.root / "spare"
    chaos.clients["spare"].expect(None)
    shutil.rmtree(place)
    chaos.follow("removed_model", "spare", None)
    answer = chaos.make("spare", chaos.version("spare", 1))
    chaos.clients["spare"].expect(answer)
    chaos.follow("added_model", "spare", answer)


def killed_worker(chaos: Chaos, name: str) -> None:
    """Kill a worker while the store is away: the one that replaces it serves what the others do."""
    root = chaos.store.root
    away = root.with_name("away")
    root.rename(away)
    for client in chaos.clients.values():
        client.forgiven = time.monotonic() + 1.0
    victim = chaos.random.choice(worker_processes(chaos.server))
    os.kill(victim, signal.SIGKILL)
    chaos.started += 1
    wait_for_workers(chaos.log, chaos.started)
    chaos.look(1)
    away.rename(root)
    whole_version(chaos, name)


EVENTS: tuple[Callable[[Chaos, str], None], ...] = (
    half_copy,
    half_copy_weights_first,
    whole_version,
    bad_version,
    deleted_version,
    damaged_in_place,
    replaced_version,
    vanished_root,
    unmounted_root,
    returning_root,
    removed_model,
    killed_worker,
)


def run_chaos(chaos: Chaos, events: Iterator[Callable[[Chaos, str], None]]) -> None:
    """Let clients ask while all ``events`` happen, each to one of the models."""
    stopping = threading.Event()

    def ask(client: Client) -> None:
        while not stopping.wait(0.005):
            client.ask()

    def look_ready() -> None:
        while not stopping.wait(0.05):
            with contextlib.suppress(OSError, http.client.HTTPException):  # of a worker that was killed
                status, content = request(chaos.port, "GET", "/readyz")
                if status != 200:
                    chaos.unready.append(f"{status}: {content[:200]!r}")

    threads = [threading.Thread(target=ask, args=(client,)) for client in chaos.clients.values()]
    threads.append(threading.Thread(target=look_ready))
    for thread in threads:
        thread.start()
    try:
        names = sorted(chaos.clients.keys() - {"spare"})
        for i, event in enumerate(events):
            event(chaos, names[i % len(names)])
            chaos.events[event.__name__] += 1
    finally:
        stopping.set()
        for thread in threads:
            thread.join(60)


def new_store(folder: Path, model: SpectralModel, row: dict[str, Any]) -> Chaos:
    """A store with three models in ``folder``, for a server that is still to be started."""
    chaos = Chaos(ModelStore(folder), model, row)
    folder.mkdir()
    for name in ("price", "rent", "spare"):
        answer = chaos.make(name, chaos.version(name, 1))
        chaos.clients[name] = Client(0, name, row, [answer])
    return chaos


def attach(chaos: Chaos, port: int, server: int, workers: int, log: Path) -> None:
    """Wait for the workers of the server that was started on the store."""
    chaos.port, chaos.server, chaos.started, chaos.log = port, server, workers, log
    for client in chaos.clients.values():
        client.port = port
    wait_for_workers(log, workers)


def problems(chaos: Chaos) -> list[str]:
    """What must not have happened and did."""
    wrong = [text for client in chaos.clients.values() for text in client.wrong]
    return [*wrong, *chaos.late, *(f"/readyz: {text}" for text in chaos.unready)]


def request(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """One request on a connection made for it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def worker_processes(server: int) -> list[int]:
    """The workers below a supervisor."""
    workers = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
                if int(parent) == server and state != "Z" and b"spawn_main" in (entry / "cmdline").read_bytes():
                    workers.append(int(entry.name))
    return workers


def wait_for_workers(log: Path, ready: int) -> None:
    """Wait until so many workers have become ready since the server started."""
    deadline = time.monotonic() + 120
    while sum('"ready"' in line for line in log.read_text().splitlines()) < ready:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only some of {ready} workers became ready: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_chaos", description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "housing", help="STORE/NAME of a regression")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between looks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chaos = new_store(Path(folder) / "store", load_model(options.model), feature_rows(options.model, 1)[0])
        chaos.interval_s, chaos.random = options.interval, random.Random(options.seed)
        port = free_port()
        arguments = ["--port", str(port), "--store", str(chaos.store.root), "--workers", str(options.workers)]
        variables = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "EIGENSERVE_WATCH_INTERVAL_S": str(options.interval),
            "EIGENSERVE_ACCESS_LOG": "false",
        }
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "eigenserve", "serve", *arguments], cwd=ROOT, env=variables, stderr=log
            )
        try:
            wait_for_server(port, process, "/readyz")
            attach(chaos, port, process.pid, options.workers, Path(folder, "log"))
            ends = time.monotonic() + options.seconds

            def events() -> Iterator[Callable[[Chaos, str], None]]:
                while True:
                    for event in chaos.random.sample(EVENTS, len(EVENTS)):
                        if time.monotonic() > ends:
                            return
                        yield event

            run_chaos(chaos, events())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        report(chaos)
        if problems(chaos):
            print(Path(folder, "log").read_text()[-4000:], file=sys.stderr)
            sys.exit(1)


def report(chaos: Chaos) -> None:
    """Print what happened."""
    print(f"\n{'event':<26}{'times':>6}{'longest until answered':>26}{'in looks':>10}")
    for name, count in sorted(chaos.events.items()):
        times = chaos.times_s.get(name, [])
        longest = f"{max(times):>24.2f} s{max(times) / chaos.interval_s:>10.1f}" if times else ""
        print(f"{name:<26}{count:>6}{longest}")
    answers = sum(client.answers for client in chaos.clients.values())
    lost = sum(client.lost for client in chaos.clients.values())
    print(f"\n{answers:,} answers, {len(problems(chaos))} problems, {lost} requests lost with workers that were killed")
    for problem in problems(chaos)[:20]:
        print(" ", problem)


if __name__ == "__main__":
    main()
