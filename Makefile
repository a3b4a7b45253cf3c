# Every command of the project; `make check` is what CI runs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8000
DATA   := examples/data
STORE  ?= $(or $(EIGENSERVE_STORE),models)

.PHONY: serve train-demo test lint format check bench bench-accuracy clean

# A stamp file per installed set: a second run installs nothing.
$(VENV)/.serve: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e '.[train]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.serve
	$(BIN)/pip install -q -e '.[train,dev]'
	@touch $@

train-demo: $(VENV)/.serve
	@ls -d $(STORE)/housing/[0-9]* >/dev/null 2>&1 || $(BIN)/python -m training fit \
	  $(DATA)/california_housing_train.csv --target median_house_value --store $(STORE) \
	  --test $(DATA)/california_housing_test.csv --pairs longitude:latitude --name housing

serve: train-demo
	$(BIN)/python -m app serve --port $(PORT) --store $(STORE)

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# Hours on two cores; it goes on where it stopped. Passive: on busy cores OpenMP threads that spin wait for each other.
bench-accuracy: $(VENV)/.dev
	$(BIN)/pip install -q -r benchmarks/requirements-accuracy.txt
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks.accuracy --out build/accuracy.json

clean:
	rm -rf $(VENV) models build dist *.egg-info
