#!/usr/bin/env bash
# Builds the Dockerfile, brings docker-compose.yml up on the engine that is installed, checks it (checks.py), and brings
# all of it down, volumes included. Without an engine it says so and is skipped; COMPOSE_REQUIRED=1 makes that a failure.
# The checks alone, against a project that is up: python3 tests/deploy/compose/checks.py
set -euo pipefail
cd "$(dirname "$0")/../../.."

skip() {
    echo "SKIPPED: compose-test: $1" >&2
    [ "${COMPOSE_REQUIRED:-}" != 1 ] || exit 1
    exit 0
}
command -v docker >/dev/null || skip "docker is not installed"
docker compose version >/dev/null 2>&1 || skip "docker has no compose plugin"
docker info >/dev/null 2>&1 || skip "no container engine answers"

# A project of its own: neither the containers nor the volumes of another `docker compose up` here are touched.
export COMPOSE_PROJECT_NAME=eigenserve-check PORT=${PORT:-18000}
down() {
    status=$?
    [ $status -eq 0 ] || docker compose logs --no-color --tail 100 || true
    docker compose down --volumes --remove-orphans
    exit $status
}
trap down EXIT
docker compose build
docker compose up --detach --no-build
python3 tests/deploy/compose/checks.py
