"""Load on one server until it takes no more connections; run in a container next to it, without any package.

Prints one JSON object: requests answered by status, and those lost after their connection had been accepted.
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter

CLIENTS = 8
ENDS_AFTER_S = 60.0
#: So long without a connection, and the server is gone.
GONE_AFTER_S = 1.0


def main(host: str, port: int, body: bytes) -> None:
    """Send requests, each on a connection of its own, and count what becomes of them."""
    answered: Counter[int] = Counter()
    lost: list[str] = []
    headers = {"Content-Type": "application/json"}
    ends = time.monotonic() + ENDS_AFTER_S

    def client() -> None:
        last = time.monotonic()
        while time.monotonic() < ends and time.monotonic() - last < GONE_AFTER_S:
            connection = http.client.HTTPConnection(host, port, timeout=40)
            try:
                connection.connect()
            except OSError:
                time.sleep(0.01)  # Never accepted: not a request that was lost.
                continue
            last = time.monotonic()
            try:
                connection.request("POST", "/predict", body, headers)
                response = connection.getresponse()
                response.read()
                answered[response.status] += 1
            except (OSError, http.client.HTTPException) as error:
                lost.append(f"{error!r} {time.monotonic() - last:.3f} s after the connection was made")
            finally:
                connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps({"answered": answered, "lost": lost}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3].encode())
