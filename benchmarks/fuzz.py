"""Requests made from the service's schema, and good ones damaged, by the thousand: no 5xx but 503 and 504, no hang.

    python -m benchmarks.fuzz [--model models/housing] [--url URL] [--cases 20000] [--mutations 50000] [--seed 0]

Cases are made and checked by schemathesis (`--schemathesis PATH` of its program `st`; left out where there is none):
also that each status, media type and document is one that the schema names. Mutations are those of
`benchmarks.mutations`; `--only N` sends the one of that number again. Exit status 1 for any fault.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.mutations import Request, good_requests, mutated
from benchmarks.service import _eigenserve

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
#: An answer may take so long; one that took longer is sent again, alone, before it counts: machines are busy, too.
SLOW_S = 1.0
THREADS = 4
#: What schemathesis sends to an operation besides what its option --max-examples counts, on average: measured.
_FIXED_CASES = 43


@dataclass
class Outcome:
    """What came of mutations.

    Attributes:
        statuses: how many answers had each status.
        faults: number of the mutation -> what was wrong.
        slowest_s: of all answers that came at the first attempt.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    slowest_s: float = 0.0


def send_mutations(url: str, requests: list[Request], numbers: range, seed: int) -> Outcome:
    """Send the mutations of these numbers, from some connections at a time."""
    outcome, following, lock = Outcome(), iter(numbers), threading.Lock()

    def work() -> None:
        with contextlib.closing(_connection(url)) as connection:
            while True:
                with lock:
                    number = next(following, None)
                if number is None:
                    return
                request = mutated(requests, seed, number)
                status, seconds = _answer(connection, request)
                with lock:
                    outcome.statuses[status] += 1
                    outcome.slowest_s = max(outcome.slowest_s, seconds)
                    if status >= 500 and status not in (503, 504):
                        outcome.faults[number] = f"status {status}: {request.path} {request.body[:200]!r}"
                    elif status == 0:
                        outcome.faults[number] = f"no answer: {request.path} {request.body[:200]!r}"
                    elif seconds > SLOW_S:
                        outcome.faults[number] = "slow"

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in [number for number, fault in outcome.faults.items() if fault == "slow"]:
        request = mutated(requests, seed, number)
        with contextlib.closing(_connection(url)) as connection:
            seconds = _answer(connection, request)[1]
        if seconds > SLOW_S:
            outcome.faults[number] = f"{seconds:.1f} s: {request.path} {request.body[:200]!r}"
        else:
            del outcome.faults[number]
    return outcome


def corpus(url: str) -> list[Request]:
    """Return good requests for every model that is served."""
    names = [model["name"] for model in _get(f"{url}/models")["models"]]
    return [request for name in names for request in good_requests(name, _get(f"{url}/models/{name}"))]


def send_cases(url: str, program: str, cases: int, seed: int) -> tuple[str, bool]:
    """Run schemathesis; return the end of its report, and whether it found nothing wrong."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        operations = sum(len(methods) for methods in json.load(answer)["paths"].values())
    examples = max(1, round(cases / operations) - _FIXED_CASES)
    command = [program, "run", f"{url}/openapi.json", "--checks", CHECKS, "--seed", str(seed)]
    command += ["--max-examples", str(examples), "--phases", "examples,coverage,fuzzing"]
    command += ["--max-response-time", str(SLOW_S), "--continue-on-failure"]
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return run.stdout[-6000:], run.returncode == 0


def main() -> int:
    """Send what is asked for, and print counts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models/housing", help="model to serve")
    parser.add_argument("--url", help="a server that runs already, in place of one of the model")
    parser.add_argument("--cases", type=int, default=20_000, help="requests made from the schema, about so many")
    parser.add_argument("--mutations", type=int, default=50_000, help="damaged requests")
    parser.add_argument("--only", type=int, help="send one mutation and print its answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schemathesis", default=shutil.which("st"), help="path of the program `st`")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = options.url
        if url is None:
            url = f"http://127.0.0.1:{stack.enter_context(_eigenserve(Path(options.model).resolve()))}"
        requests = corpus(url)
        if options.only is not None:
            return _show(url, mutated(requests, options.seed, options.only))
        good = True
        if options.mutations:
            started = time.monotonic()
            outcome = send_mutations(url, requests, range(options.mutations), options.seed)
            by_status = ", ".join(f"{status}: {number}" for status, number in sorted(outcome.statuses.items()))
            print(
                f"{options.mutations} mutations of {len(requests)} requests, seed {options.seed}, "
                f"{time.monotonic() - started:.0f} s: {by_status}; slowest {outcome.slowest_s:.2f} s"
            )
            for number, fault in sorted(outcome.faults.items()):
                print(f"fault: --only {number}: {fault}")
            good = not outcome.faults
        if options.cases and options.schemathesis is None:
            print("cases from the schema: left out (give --schemathesis, the path of its program `st`)")
        elif options.cases:
            report, right = send_cases(url, options.schemathesis, options.cases, options.seed)
            made = re.search(r"(\d+) generated", report)
            print(
                f"{made[1] if made else '?'} cases from the schema, seed {options.seed}: {'right' if right else report}"
            )
            good = good and right
    return 0 if good else 1


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=60)


def _answer(connection: http.client.HTTPConnection, request: Request) -> tuple[int, float]:
    """Return status and seconds; 0 where the connection ended without an answer."""
    started = time.monotonic()
    for attempt in count():
        try:
            connection.request("POST", request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            # A connection that the last answer closed, or that was idle for too long, is no fault.
            connection.close()
            if attempt == 1:
                return 0, time.monotonic() - started
        else:
            return answer.status, time.monotonic() - started
    raise AssertionError


def _show(url: str, request: Request) -> int:
    print(request.path, dict(request.headers), request.body[:2000])
    with contextlib.closing(_connection(url)) as connection:
        connection.request("POST", request.path, request.body, dict(request.headers))
        answer = connection.getresponse()
        print(answer.status, answer.read()[:2000])
    return 0


def _get(url: str) -> dict:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
