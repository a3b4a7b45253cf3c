# Every command of the project; `make check` is what CI runs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8000
DATA   := examples/data
STORE  ?= $(or $(EIGENSERVE_STORE),models)
KSERVE := kserve==0.21.0
BIOME  := @biomejs/biome@2.6.8

.PHONY: serve train-demo test test-peers lint lint-page format check bench bench-accuracy bench-explanations lock sbom compose-test clean

# A stamp file per installed set: a second run installs nothing.
$(VENV)/.serve: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e '.[serve,fit]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.serve
	$(BIN)/pip install -q -e '.[serve,train,dev]'
# KServe's package for its classes alone, which say what a valid manifest is; what it needs to run is not installed.
	$(BIN)/pip install -q --no-deps $(KSERVE) six
	@touch $@

train-demo: $(VENV)/.serve
	@ls -d $(STORE)/housing/[0-9]* >/dev/null 2>&1 || $(BIN)/python -m eigenserve fit \
	  $(DATA)/california_housing_train.csv --target median_house_value --store $(STORE) \
	  --test $(DATA)/california_housing_test.csv --pairs longitude:latitude --name housing --budget 20

serve: train-demo
	$(BIN)/python -m eigenserve serve --port $(PORT) --store $(STORE)

# What judges times or memory runs after the others, alone.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not alone" --numprocesses auto --maxprocesses 4 --dist loadfile
	$(BIN)/python -m pytest -m alone

# Locked, since pip alone may search for minutes before it finds versions that agree, or find none.
$(VENV)-peers/.installed: pyproject.toml requirements/peers.txt
	@test -x $(VENV)-peers/bin/python || $(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/pip install -q --require-hashes -r requirements/peers.txt
	$(VENV)-peers/bin/pip install -q --no-deps -e . $(KSERVE)
	@touch $@

# With other people's clients, servers and libraries: the tests that `make test` skips where they are not installed.
test-peers: $(VENV)-peers/.installed
	$(VENV)-peers/bin/python -m pytest tests/oracles/test_clients.py tests/oracles/test_fuzz.py tests/oracles/test_s3.py \
	  tests/app/observability/test_tracing.py tests/oracles/test_shap.py tests/model/explanations/test_tables.py \
	  tests/oracles/test_mlflow.py tests/oracles/test_hub.py
# By itself: the clients of Triton and KServe both register messages of the same names.
	$(VENV)-peers/bin/python -m pytest tests/oracles/test_grpc_clients.py

lint: $(VENV)/.dev lint-page
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The page's scripts, styles and HTML; biome.jsonc has the rules.
lint-page:
	@if command -v npx >/dev/null; then npx --yes $(BIOME) lint --error-on-warnings; \
	else echo "note: the page's scripts were not linted: npx is not installed"; fi

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test test-peers

# What users wait for, with ratios to peers and to the machine's limits, in ten minutes; build/benchmarks.jsonl keeps it.
bench: $(VENV)/.dev train-demo
	$(BIN)/python -m benchmarks

# Takes hours on two cores; resumes where it stopped. Passive: on busy cores OpenMP threads that spin wait for each other.
bench-accuracy: $(VENV)/.dev
	$(BIN)/pip install -q -r benchmarks/requirements-accuracy.txt
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks.accuracy --out build/accuracy.json

# Attributions of several tables by our methods, TreeSHAP, KernelSHAP and LIME; TABLES=FOLDER adds a folder's tables.
bench-explanations: $(VENV)/.dev
	$(BIN)/pip install -q -r benchmarks/requirements-explanations.txt
	$(BIN)/python -m benchmarks.explanations
	$(BIN)/python -m benchmarks.explanation_quality $(if $(TABLES),--tables $(TABLES))

# The pinned and hashed dependencies that the images install. `UPGRADE=--upgrade` takes the newest there are. CPU builds of
# PyTorch come from an index of their own, which TORCH_INDEX must name (see pytorch.org) to lock them for all Pythons.
LOCK = $(BIN)/uv pip compile -q --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
  --python-version 3.11 $(UPGRADE)
SERVE_EXTRAS = --extra serve --extra store --extra otel --extra grpc --extra jwt
lock: $(VENV)/.serve
	$(BIN)/pip install -q uv
	$(LOCK) pyproject.toml --universal $(SERVE_EXTRAS) -o requirements/serve.txt
	$(LOCK) pyproject.toml --universal $(SERVE_EXTRAS) --extra fit --extra score \
	  -c requirements/serve.txt -o requirements/fit.txt
	$(LOCK) pyproject.toml --universal $(SERVE_EXTRAS) --extra train --extra score \
	  -c requirements/fit.txt -o requirements/train.txt
	$(LOCK) requirements/torch-cpu.in -c requirements/train.txt -o requirements/torch-cpu.txt \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --index-strategy unsafe-best-match)
	$(LOCK) requirements/build.in --universal -o requirements/build.txt
	$(LOCK) requirements/sbom.in --universal -o requirements/sbom.txt
	$(LOCK) pyproject.toml requirements/peers.in --universal --extra serve --extra fit --extra store --extra otel \
	  -o requirements/peers.txt

# What the serving image contains, as CycloneDX: build/sbom.cdx.json.
sbom:
	docker build --target sbom --output build .

# Builds the images and runs docker-compose.yml on the engine that is installed.
compose-test:
	tests/deploy/compose/run.sh

clean:
	rm -rf $(VENV) $(VENV)-peers models build dist *.egg-info
