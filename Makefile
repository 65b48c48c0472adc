PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEV := $(VENV)/ready-dev
INSTALL := PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/install.sh
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test faults soak simulate fuzz check format install wheels pictures measure native gpu gpu-wheels gpu-compile FORCE

run: $(READY)  ## open the program
	@$(BIN)/svhn-tui

test: $(DEV)  ## every test, slow ones too, four at a time: many wait for processes
	$(BIN)/pytest -q -n 4 --dist loadgroup --no-loadscope-reorder

faults: $(DEV)  ## kill, fill, cut and damage everything; prints what was lost
	$(BIN)/pytest -q -n 2 --dist loadgroup --no-loadscope-reorder tests/faults

soak: $(DEV)  ## 300 runs through one host with kills and pauses: SOAK_MINUTES=20
	SOAK_MINUTES=$${SOAK_MINUTES:-20} $(BIN)/pytest -q tests/faults/test_soak.py

fuzz: $(DEV)  ## the parsers of what comes from outside, 50,000 examples each
	SVHN_TUI_FUZZ=50000 $(BIN)/pytest -q tests/tools/test_fuzz.py --durations=0

check: $(DEV)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

gpu: $(DEV)  ## what this machine's GPU computes and how fast: a table and one JSON, nine minutes
	$(BIN)/python -m tests.gpu

gpu-wheels:  ## what a GPU box without a network lacks for `make gpu`'s kit: 8 MB into .whl
	@PYTHON="$(PYTHON)" sh scripts/kit_wheels.sh

gpu-compile: $(DEV)  ## what an H100 would launch, without one: 1 GB is installed once
	$(BIN)/python -m tests.gpu.compiled

measure: $(DEV)  ## how fast the screen is, as a table
	$(BIN)/python -m tests.measure

native: $(DEV)  ## how fast the native trainer is on one core, beside what the core can do
	@$(BIN)/python -m tests.native_speed

simulate: $(DEV)  ## the host under a thousand workers and a hundred thousand runs: minutes, and 10 GB of memory
	@$(BIN)/python -m tests.simulation

pictures: $(DEV)  ## the README's pictures, from recorded events
	TZ=UTC TEXTUAL_COLOR_SYSTEM=truecolor XDG_CONFIG_HOME=/nowhere $(BIN)/python -m docs.pictures

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install:  ## the set-up alone; SVHN_TUI_CUDA=cuda12, cuda13 or cpu chooses JAX's build
	@$(INSTALL)

wheels:  ## all packages into a folder, to install from without a network: SVHN_TUI_WHEELS=DIR
	@PYTHON="$(PYTHON)" sh scripts/wheels.sh

ifneq ($(SVHN_TUI_CUDA),)
$(READY): FORCE
endif
$(READY): pyproject.toml constraints.txt constraints-cuda12.txt constraints-cuda13.txt
	@$(INSTALL)
	@touch $@

$(DEV): $(READY)
	@$(INSTALL) dev
	@touch $@
	@$(BIN)/python -m engine.training.native.build || true
