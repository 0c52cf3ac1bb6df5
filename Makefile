# Two commands do everything on a fresh machine: `make run` and `make test`.
# Both need only Python >= 3.11, make and the package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PIP_INSTALL := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# What is installed is compiled where it is first imported, and that is kept: otherwise every process
# would compile TensorFlow anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test lint format ui clean

run: $(VENV)/.run ## Run the main experiment: make run ARGS="optimizer=random seed=1"
	$(BIN)/python -m experiments.run optimizer=cmaes $(ARGS)

test: $(VENV)/.dev ## Run the tests: make test ARGS="-k engine"
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(VENV)/.run ## Open the MLflow UI on the runs of this folder
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/mlflow.db $(ARGS)

clean: ## Remove the virtual environment and the caches of the tools
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "knn-slicing needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing knn-slicing into $(VENV) (a few minutes the first time)"
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing knn-slicing and its development tools into $(VENV) (a few minutes the first time)"
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.run
