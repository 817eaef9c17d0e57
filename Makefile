# Everything a newcomer needs: `make demo` and `make test`. Each makes its environment first and may be run again.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WORKERS ?= 3
STAMP = $(VENV)/installed.stamp
SENTENCE = train the best small model of Python statements you can in two minutes, and publish it as python-statements

.PHONY: demo examples test thorough check format docs bench clean

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ML Intern needs Python 3.11 or newer; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv "$(VENV)"
	@echo "Installing into $(VENV): some gigabytes, and minutes without a word."
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch "$(STAMP)"

# The demo asks no model and publishes to the Hub on this disk, whatever account the user has.
demo: $(STAMP)
	ML_INTERN_HUB=embedded "$(BIN)/ml-intern" --model playbook: "$(SENTENCE)"
	"$(BIN)/python" examples/first_light/load.py python-statements

# The stories of examples/, small: minutes each on two cores; they write their results and one table.
examples: $(STAMP)
	"$(BIN)/python" examples/run.py all

# A file's tests stay in one process and in order; WORKERS=0 runs all in this one. Three keep two cores busy: much of a
# test is waiting for another process.
test: $(STAMP)
	"$(BIN)/python" -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not thorough"

# The same behaviours at length: each attack in each sandbox, long sessions killed again and again.
thorough: $(STAMP)
	"$(BIN)/python" -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m thorough

check: $(STAMP)
	"$(BIN)/ruff" format --check .
	"$(BIN)/ruff" check .
	"$(BIN)/mypy"

format: $(STAMP)
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

docs: $(STAMP)
	"$(BIN)/python" docs/generate.py
	"$(BIN)/python" -m sphinx -q -W -b html docs build/docs
	@echo "Open build/docs/index.html"

bench: $(STAMP)
	@for script in benchmarks/*.py; do echo "== $$script"; "$(BIN)/python" "$$script" || exit 1; done

clean:
	rm -rf "$(VENV)" build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache
