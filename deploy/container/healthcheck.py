"""The images' health check: exit code 0 if the server of this container is ready."""

import os
import sys
from http.client import HTTPConnection, HTTPException

#: Where the server takes its port from, as eigenserve.app.settings has it: the first that is set counts.
VARIABLES = ("EIGENSERVE_PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT")


def main() -> int:
    """Ask /readyz once, directly: a proxy that the environment names is not for this."""
    port = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "8000")
    try:
        connection = HTTPConnection("127.0.0.1", int(port), timeout=2)
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError, OverflowError) as error:
        print(error, file=sys.stderr)
        return 1
    if status != 200:
        print(f"/readyz answers {status}", file=sys.stderr)
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main())
