PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test whole audit
SEEDS ?= 20

demo: .venv/ready
	$(BIN)/autograder demo demo

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check autograder reference_models tests
	$(BIN)/mypy
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m "not busy and not slow" --durations 30
	$(BIN)/pytest -m busy

whole: test  # and what a sample stood for
	$(BIN)/pytest -n auto --maxprocesses 8 -m slow

audit: .venv/ready  # every homework, in containers; a file of one homework: make audit HOMEWORKS=hw1
	for homework in $(or $(HOMEWORKS),$(notdir $(patsubst %/,%,$(dir $(wildcard assignments/*/assignment.yaml))))); do \
		$(BIN)/autograder audit $$homework --seeds $(SEEDS) || exit $$?; done

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
