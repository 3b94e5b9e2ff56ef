# Every target works from a fresh clone on a machine that has only Python >= 3.11; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
NAME ?= dev
NODES ?= real
CRD := crds/tuneoperator.io_tuneexperiments.yaml
CHART_CRD := charts/tune-operator/files/tuneexperiments.yaml

.DEFAULT_GOAL := help
.PHONY: help install lock lint format generate verify unit model trainer exhaustive integration e2e test chaos reliability bench-checkpoint bench-tuning demo cluster cluster-down clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## make .venv from the hash-pinned locks
	@$(PYTHON) dev/install.py

UV_LOCK := $(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-emit-package tune-trainer --custom-compile-command "make lock"

lock: install ## renew the locks from the project files (UPGRADE=--upgrade takes newer versions)
	$(UV_LOCK) $(UPGRADE) pyproject.toml --group dev -o requirements/dev.txt
	$(UV_LOCK) pyproject.toml -c requirements/dev.txt -o requirements/operator.txt
	$(UV_LOCK) trainer-image/pyproject.toml -c requirements/dev.txt -o trainer-image/requirements.txt
	$(UV_LOCK) --group pyproject.toml:digits -c requirements/dev.txt -o examples/digits/requirements.txt

lint: install ## formatting, ruff, strict types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: install ## let ruff mend formatting and what it can mend safely
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: install ## write the CRD and the chart's copy of it from the API models
	@mkdir -p $(dir $(CRD)) $(dir $(CHART_CRD))
	$(BIN)/python -m tune_operator.api.crd > $(CRD).new && mv $(CRD).new $(CRD)
	cp $(CRD) $(CHART_CRD)

verify: install ## fail when a generated file differs from what make generate writes
	@new=$$(mktemp) && trap 'rm -f $$new' EXIT && $(BIN)/python -m tune_operator.api.crd > $$new \
	&& for file in $(CRD) $(CHART_CRD); do \
		diff -u $$file $$new || { echo "verify: $$file is not what the models say; run make generate and commit it" >&2; exit 1; }; \
	done && echo "verify: generated files are up to date"

unit: install ## pure functions
	$(BIN)/pytest tests/unit -n auto

model: install ## Hypothesis state machines
	$(BIN)/pytest tests/model -n auto --ignore=tests/model/test_small_scope.py

exhaustive: install ## a fault at every write of small runs of the model; takes minutes
	$(BIN)/pytest tests/model/test_small_scope.py -n auto

trainer: install ## the SDK in real processes, against local servers
	$(BIN)/pytest tests/trainer -n auto

integration: install ## tests on the kwok flavour; needs make cluster NODES=kwok NAME=test-kwok
	$(BIN)/python -m dev.test integration

e2e: install ## tests on real Pods
	$(BIN)/python -m dev.test e2e

test: install ## all tests, set-up and clean-up of their clusters included; allows no skip
	$(BIN)/python -m dev.test

reliability: install ## write the tables of docs/reliability.md from what the last make test ran
	$(BIN)/python -m dev.reliability

chaos: install ## 200 trials while everything around them breaks: SEED=7 SECONDS=200 FAULTS=110 CLUSTER=name
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed=$(SEED)) $(if $(SECONDS),--seconds=$(SECONDS)) \
		$(if $(FAULTS),--faults=$(FAULTS)) $(if $(CLUSTER),--cluster=$(CLUSTER))

bench-checkpoint: install ## what saving, uploading and restoring cost, as ratios in one run: MEGABYTES=500 ROUNDS=5
	$(BIN)/python -m benchmarks.checkpoint $(if $(MEGABYTES),--megabytes=$(MEGABYTES)) $(if $(ROUNDS),--rounds=$(ROUNDS))

bench-tuning: install ## what a result costs a scheduler: TRIALS=10000
	$(BIN)/python -m benchmarks.tuning $(if $(TRIALS),--trials=$(TRIALS))

demo: install ## the whole path on a cluster of its own (CLUSTER=current: on the one at hand)
	$(BIN)/python -m dev.demo $(if $(CLUSTER),--cluster=$(CLUSTER)) $(if $(YES),--yes)

cluster: ## start a local cluster: NAME=dev NODES=real (real | kwok)
	$(PYTHON) dev/cluster up --name $(NAME) --nodes=$(NODES)

cluster-down: ## remove it and everything it made: NAME=dev
	$(PYTHON) dev/cluster down --name $(NAME)

clean: ## remove what make install and the tools made here; clusters and the build cache stay
	rm -rf .venv .logs .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
