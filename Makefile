# Two commands do everything on a fresh machine: `make run` and `make test`.
# They, and all others, need only Python >= 3.11, make and the package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PIP_INSTALL := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# uv takes a third of pip's time, and pip goes on where only pip is told of the package index.
INSTALL := sh -c '$(PIP_INSTALL) uv && $(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable "$$0" || { echo "pip goes on where uv could not."; $(PIP_INSTALL) --editable "$$0"; }'

# What is installed is compiled where it is first imported, and that is kept: otherwise every process
# would compile TensorFlow again.
unexport PYTHONDONTWRITEBYTECODE

# A notebook with an error is not a result.
.DELETE_ON_ERROR:
.PHONY: run app test test-processors lint format docs notebooks ui clean

run: $(VENV)/.run ## Run the main experiment: make run ARGS="optimizer=random seed=1"
	$(BIN)/python -m experiments.run optimizer=cmaes $(ARGS)

app: $(VENV)/.app ## Open the app: make app ARGS="port=8081"
	$(BIN)/python -m experiments.app $(ARGS)

test: $(VENV)/.dev ## Run the tests: make test ARGS="-k engine"
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

test-processors: $(VENV)/.dev ## Run the numeric tests as on other processors, with 1 and 2 threads
	$(BIN)/python -m tests.processors $(ARGS)

lint: $(VENV)/.dev ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Fix style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev notebooks ## Build the documentation
	$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --fresh-env --quiet --builder html docs docs/_build/html
	@echo "The documentation: $(CURDIR)/docs/_build/html/index.html"

notebooks: $(patsubst notebooks/%,docs/notebooks/%,$(wildcard notebooks/*.ipynb)) ## Execute the notebooks

docs/notebooks/%.ipynb: notebooks/%.ipynb $(VENV)/.dev $(wildcard slicing/*.py slicing/*/*.py evolve/*.py evolve/*/*.py)
	@mkdir -p $(@D)
	$(BIN)/jupyter-execute --output "$(CURDIR)/docs/notebooks/$*" $<

# Side by side, both would compile the same.
docs/notebooks/03_exact_incremental_fitness.ipynb: | docs/notebooks/02_watching_evolution.ipynb

ui: $(VENV)/.run ## Open the MLflow UI on the runs of this folder
	@echo "The MLflow UI starts, which takes some seconds: http://127.0.0.1:5000 (or what ARGS says)"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db $(ARGS)

clean: ## Remove the virtual environment and the caches of the tools
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info docs/_build docs/generated docs/notebooks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "knn-slicing needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing knn-slicing into $(VENV) (a few minutes the first time)"
	@$(INSTALL) .
	@touch $@

$(VENV)/.app: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing knn-slicing and its app into $(VENV) (a few minutes the first time)"
	@$(INSTALL) '.[app,inspect,pretrained,litert]'
	@touch $@ $(VENV)/.run

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing knn-slicing and its development tools into $(VENV) (a few minutes the first time)"
	@$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.app $(VENV)/.run
