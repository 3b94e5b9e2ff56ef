# Every target works from a fresh clone on a machine that has only Python >= 3.11; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install lock

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z%-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## make .venv from the hash-pinned locks
	@$(PYTHON) dev/install.py

UV_LOCK := $(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-emit-package tune-trainer --custom-compile-command "make lock"

lock: install ## renew the locks from the project files (UPGRADE=--upgrade takes newer versions)
	$(UV_LOCK) $(UPGRADE) pyproject.toml --group dev -o requirements/dev.txt
	$(UV_LOCK) pyproject.toml -c requirements/dev.txt -o requirements/operator.txt
	$(UV_LOCK) trainer-image/pyproject.toml -c requirements/dev.txt -o trainer-image/requirements.txt
	$(UV_LOCK) --group pyproject.toml:digits -c requirements/dev.txt -o examples/digits/requirements.txt
