PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test faults soak simulate fuzz check format install pictures measure

run: $(READY)  ## open the program
	@$(BIN)/svhn-tui

test: $(READY)  ## every test, slow ones too, two files at a time
	$(BIN)/pytest -q -n 2 --dist loadfile

faults: $(READY)  ## kill, fill, cut and damage everything; prints what was lost
	$(BIN)/pytest -q -n 2 --dist loadfile tests/faults

soak: $(READY)  ## 300 runs through one host with kills and pauses: SOAK_MINUTES=20
	SOAK_MINUTES=$${SOAK_MINUTES:-20} $(BIN)/pytest -q tests/faults/test_soak.py

fuzz: $(READY)  ## the parsers of what comes from outside, 50,000 examples each
	SVHN_TUI_FUZZ=50000 $(BIN)/pytest -q tests/tools/test_fuzz.py --durations=0

check: $(READY)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

measure: $(READY)  ## how fast the screen is, as a table
	$(BIN)/python -m tests.measure

simulate: $(READY)  ## the host under a thousand workers and a hundred thousand runs: minutes, and 10 GB of memory
	@$(BIN)/python -m tests.simulation

pictures: $(READY)  ## the README's pictures, from recorded events
	TZ=UTC TEXTUAL_COLOR_SYSTEM=truecolor XDG_CONFIG_HOME=/nowhere $(BIN)/python -m docs.pictures

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(READY)  ## the set-up alone

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): about 3 GB, a minute or more on a fast line; this happens once."
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --progress-bar on --editable ".[dev]"
	@touch $@
	@$(BIN)/python -m engine.training.native.build || true
