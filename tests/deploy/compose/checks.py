"""Checks of docker-compose.yml's containers against a project that is up; needs the docker command and no package.

Run in the project's folder: ``python3 tests/deploy/compose/checks.py``. PORT is the published port (8000) and
READY_LIMIT_S how long a fresh container may take until it is ready (3). The server runs when it ends.
"""

import json
import math
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

PORT = int(os.environ.get("PORT", "8000"))
URL = f"http://127.0.0.1:{PORT}"
READY_LIMIT_S = float(os.environ.get("READY_LIMIT_S", "3"))
SIZE_LIMIT_MB = 450
IMAGE = "eigenserve"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--user", "10001", "--security-opt", "no-new-privileges:true")
ROW = {
    "longitude": -118.3,
    "latitude": 34.26,
    "housing_median_age": 43,
    "total_rooms": 1510,
    "total_bedrooms": 310,
    "population": 809,
    "households": 277,
    "median_income": 3.599,
}


def main() -> None:
    """Run every check; the first that fails ends it with its reason."""
    for check in (
        check_answers,
        check_image,
        check_confinement,
        check_fresh_container_is_ready_soon,
        check_restart_keeps_the_model,
        check_stop_under_load_loses_nothing,
    ):
        print(f"{check.__name__}: ", end="", flush=True)
        print(check() or "ok", flush=True)


def docker(*arguments: str, check: bool = True) -> str:
    """Standard output of a docker command."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def ask(path: str, body: Any = None, url: str = URL) -> Any:
    """The JSON that the server answers; retried while the port is not there yet."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def wait_ready(url: str = URL, timeout_s: float = 60) -> float:
    """Seconds until /readyz says 200."""
    started = time.monotonic()
    while True:
        try:
            ask("/readyz", url=url)
            return time.monotonic() - started
        except OSError:
            if time.monotonic() - started > timeout_s:
                raise
            time.sleep(0.02)


def server_id() -> str:
    """The running server container."""
    found = docker("compose", "ps", "--all", "--quiet", "server")
    assert found, "the compose project has no server; is it up?"
    return found


def check_answers() -> str:
    """Prediction and explanation through the published port."""
    wait_ready()
    predicted = ask("/predict", {"instances": [ROW]})
    value = predicted["predictions"][0]
    assert 100_000 < value < 300_000, predicted
    (explained,) = ask("/explain", {"instances": [ROW]})["explanations"]
    total = explained["baseline"] + math.fsum(explained["contributions"].values())
    assert abs(total - explained["score"]) <= 1e-9 * abs(explained["score"]), explained
    assert abs(explained["prediction"] - value) <= 1e-9 * value, (explained, value)
    return f"{value:.0f} = {explained['baseline']:.0f} + {len(explained['contributions'])} contributions"


def check_image() -> str:
    """Size beyond the base, user, labels, health check, no torch and no compiler."""
    layers = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE)
    ours = 0
    for line in layers.splitlines():
        size, made_by = line.split("\t", 1)
        ours += int(size)
        if "useradd --uid 10001" in made_by:  # the first layer on top of the base
            break
    else:
        raise AssertionError(f"the layer that makes the user is not in {layers}")
    assert ours <= SIZE_LIMIT_MB * 1e6, f"{ours / 1e6:.0f} MB beyond the base; at most {SIZE_LIMIT_MB}"
    (image,) = json.loads(docker("image", "inspect", IMAGE))
    config = image["Config"]
    assert config["User"] == "10001:10001", config["User"]
    assert "healthcheck.py" in str(config["Healthcheck"]), config
    wanted = {f"org.opencontainers.image.{name}" for name in ("title", "licenses", "version", "revision", "created")}
    assert wanted <= set(config["Labels"]), config["Labels"]
    inside = (
        "import importlib.util as u, shutil as s;"
        "print([m for m in ('torch', 'scipy', 'pip') if u.find_spec(m)],"
        "[c for c in ('cc', 'gcc', 'clang', 'g++', 'make') if s.which(c)])"
    )
    found = docker("run", "--rm", "--entrypoint", "/opt/venv/bin/python", IMAGE, "-c", inside)
    assert found == "[] []", found
    return f"{ours / 1e6:.0f} MB beyond the base"


def check_confinement() -> str:
    """The running server may do what it must, and nothing else."""
    (container,) = json.loads(docker("inspect", server_id()))
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    inside = (
        "id -u; for place in / /models /opt/kernels /opt/venv /var/tmp /tmp; do"
        " (: > $place/probe) 2>/dev/null && echo $place; done; rm -f /tmp/probe; grep CapEff /proc/self/status"
    )
    lines = docker("compose", "exec", "-T", "server", "sh", "-c", inside).split()
    assert lines == ["10001", "/tmp", "CapEff:", "0000000000000000"], lines
    return "user 10001, no capabilities, writes to /tmp only"


def check_fresh_container_is_ready_soon() -> str:
    """A container that was never started before, with a tmpfs and without any."""
    mounts = json.loads(docker("inspect", server_id()))[0]["Mounts"]
    volume = next(mount["Name"] for mount in mounts if mount["Destination"] == "/models")
    taken = []
    for tmpfs in (("--tmpfs", "/tmp"), ()):
        arguments = (*HARDENED, *tmpfs, "--volume", f"{volume}:/models:ro", "--publish", "127.0.0.1::8000")
        made = docker("create", *arguments, IMAGE)
        try:
            started = time.monotonic()
            docker("start", made)
            port = docker("port", made, "8000").rsplit(":", 1)[1]
            url = f"http://127.0.0.1:{port}"
            wait_ready(url)
            taken.append(time.monotonic() - started)
            ask("/explain", {"instances": [ROW], "method": "path"}, url)
            said = docker("logs", made)
            assert "no kernels for this CPU" not in said, said
        finally:
            docker("rm", "--force", made)
    shown = " and ".join(f"{seconds:.2f} s" for seconds in taken)
    assert min(taken) <= READY_LIMIT_S, f"ready after {shown}; at most {READY_LIMIT_S} s"
    return f"ready after {shown}, with and without a tmpfs on /tmp"


def check_restart_keeps_the_model() -> str:
    """A restarted server answers as before."""
    before = ask("/predict", {"instances": [ROW]})
    started = time.monotonic()
    docker("compose", "restart", "server")
    wait_ready()
    taken = time.monotonic() - started
    assert ask("/predict", {"instances": [ROW]}) == before
    return f"same answer {taken:.1f} s later"


def check_stop_under_load_loses_nothing() -> str:
    """`docker compose stop` while clients ask: what was accepted is answered, and the server ends by itself."""
    container = server_id()
    (inspected,) = json.loads(docker("inspect", container))
    ((network, _),) = inspected["NetworkSettings"]["Networks"].items()
    address = inspected["NetworkSettings"]["Networks"][network]["IPAddress"]
    # Within the network, not through the published port: its proxy takes connections that the server never sees.
    body = json.dumps({"instances": [ROW] * 100})
    arguments = ["run", "--rm", "-i", "--network", network, "--entrypoint", "/opt/venv/bin/python", IMAGE]
    with subprocess.Popen(
        ["docker", *arguments, "-", address, "8000", body],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        load.stdin.write(Path(__file__).with_name("load.py").read_text())
        load.stdin.close()
        assert load.stdout.readline() == "started\n"
        time.sleep(2)
        docker("compose", "stop", "server")
        result = json.loads(load.stdout.readline())
    assert not result["lost"], f"{len(result['lost'])} accepted requests were lost: {result['lost'][:3]}"
    assert set(result["answered"]) == {"200"}, result
    assert result["answered"]["200"] > 50, result
    (state,) = json.loads(docker("inspect", container))
    assert state["State"]["ExitCode"] == 0, state["State"]
    docker("compose", "start", "server")
    wait_ready()
    return f"{result['answered']['200']} requests answered, none lost, exit code 0"


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        sys.exit(1)
