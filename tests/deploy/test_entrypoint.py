"""The images' entry point: which CPU level it sees, and what it hands on; and their health check."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from eigenserve.app.settings import platform_settings

ENTRYPOINT = Path(__file__).parents[2] / "deploy/container/entrypoint.sh"
LOADER = Path("/lib64/ld-linux-x86-64.so.2")

V2 = "fpu sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
V4 = f"{V3} avx512f avx512dq avx512cd avx512bw avx512vl"

x86_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="levels are x86-64's")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ENTRYPOINT), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@x86_only
@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("fpu sse sse2", ""),
        (V2.replace("popcnt ", ""), ""),
        (V2, "x86-64-v2"),
        (V3.replace(" fma", ""), "x86-64-v2"),
        (V3.replace(" avx2", " avx2x"), "x86-64-v2"),
        (V3, "x86-64-v3"),
        (V4.replace(" avx512cd", ""), "x86-64-v3"),
        (V4 + " amx_tile", "x86-64-v4"),
        # AVX-512 without what comes before it is no level.
        (V4.replace(" movbe", ""), "x86-64-v2"),
    ],
)
def test_a_level_is_seen_where_all_its_flags_are(tmp_path: Path, flags: str, level: str):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n\nprocessor\t: 1\nflags\t\t: {V4}\n")
    found = run(CPUINFO=str(cpuinfo))
    assert (found.stdout, found.stderr, found.returncode) == (f"{level}\n", "", 0)


@x86_only
def test_the_loader_of_glibc_sees_the_same_level():
    said = subprocess.run([LOADER, "--help"], capture_output=True, text=True, check=False).stdout
    levels = re.findall(r"(x86-64-v\d) \(supported", said)
    if not levels:
        pytest.skip("this glibc does not report the level")
    assert run().stdout.strip() == max(levels)


def test_kernels_are_copied_to_what_is_writable_and_named_to_numba(tmp_path: Path):
    level = run().stdout.strip()
    kernels, scratch, bin_folder = tmp_path / "kernels", tmp_path / "tmp", tmp_path / "bin"
    (kernels / level / "model_1").mkdir(parents=True)
    (kernels / level / "model_1" / "k.nbi").write_text("kernel")
    scratch.mkdir()
    bin_folder.mkdir()
    python = bin_folder / "python"
    python.write_text('#!/bin/sh\necho "$*|$NUMBA_CPU_NAME|${NUMBA_CPU_FEATURES-unset}|$NUMBA_CACHE_DIR|$TMPDIR"\n')
    python.chmod(0o755)
    environment = {
        "EIGENSERVE_KERNELS": str(kernels),
        "TMPDIR": str(scratch),
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
    }
    done = run("serve", "--port", "1", **environment)
    assert done.stderr == ""
    command, name, features, cache, tmp = done.stdout.strip().split("|")
    assert (command, name, features, tmp) == ("-m eigenserve serve --port 1", level, "", str(scratch))
    assert Path(cache).parent == scratch
    assert (Path(cache) / "model_1" / "k.nbi").read_text() == "kernel"
    # Another start does not meet the files of this one, and does not leave them where a tmpfs would fill up.
    another = run("serve", **environment).stdout.split("|")[3]
    assert another != cache
    assert [str(path) for path in scratch.iterdir()] == [another]
    # A second process next to one that still runs does not take its files.
    running = scratch / f"eigenserve-kernels.{os.getpid()}.abcdef"
    running.mkdir()
    last = run("serve", **environment).stdout.split("|")[3]
    assert sorted(map(str, scratch.iterdir())) == sorted([str(running), last])


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm here")
def test_without_a_writable_tmp_shared_memory_is_used(tmp_path: Path):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "python").write_text('#!/bin/sh\necho "$TMPDIR $NUMBA_CACHE_DIR"; rm -r "$NUMBA_CACHE_DIR"\n')
    (bin_folder / "python").chmod(0o755)
    done = run("serve", TMPDIR=str(tmp_path / "none"), PATH=f"{bin_folder}:{os.environ['PATH']}")
    tmp, cache = done.stdout.split()
    assert tmp == "/dev/shm"
    assert cache.startswith("/dev/shm/eigenserve-kernels.")


CHECK = ENTRYPOINT.with_name("healthcheck.py")


def check_health(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", CHECK], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A server that is ready, and notes what it was asked for."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    asked: list[str] = []
    status = [200]
    with HTTPServer(("127.0.0.1", 0), Ready) as made:
        made.asked, made.status = asked, status
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_the_health_check_asks_readyz(server):
    port = str(server.server_port)
    for name in ("EIGENSERVE_PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"):
        assert check_health(**{name: port, "http_proxy": "http://127.0.0.1:1"}).returncode == 0
    assert server.asked == ["/readyz"] * 3
    server.status[0] = 503
    done = check_health(EIGENSERVE_PORT=port)
    assert (done.returncode, done.stderr) == (1, "/readyz answers 503\n")


@pytest.mark.parametrize("port", ["1", "many", "99999"])
def test_the_health_check_says_in_one_line_why_it_fails(port: str):
    done = check_health(EIGENSERVE_PORT=port)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_health_check_asks_the_port_that_the_server_takes(server, count: int):
    names = ("EIGENSERVE_PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT")[-count:]
    environment = dict.fromkeys(names, "1") | {names[0]: str(server.server_port)}
    taken = {"port": environment.get("EIGENSERVE_PORT", "")} | platform_settings(environment)
    assert taken["port"] == str(server.server_port)
    assert check_health(**environment).returncode == 0


def test_in_the_images_the_entry_point_comes_before_the_program_that_the_package_installs():
    lines = (ENTRYPOINT.parents[2] / "Dockerfile").read_text().splitlines()
    (copied,) = (line.split()[-1] for line in lines if line.startswith("COPY") and "entrypoint.sh" in line)
    base = lines[lines.index("FROM ${PYTHON} AS base") :]
    path = next(line.split("PATH=")[1].split()[0] for line in base if line.startswith("ENV PATH="))
    folder, _, name = copied.rpartition("/")
    assert name == "eigenserve"
    assert path.split(":").index(folder) < path.split(":").index("/opt/venv/bin")
