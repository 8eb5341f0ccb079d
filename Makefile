# Everything a clone needs: a Python of at least 3.11 and make. The virtual environment in .venv is made on first use.
#   make demo    the loop: serve, observe, simulate the same, compare, all on this machine
#   make test    tests, doctests and every example in the documentation
#   make lint    ruff, mypy --strict and the import contracts

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test test-statistical test-real lint bench bench-h100 bench-vllm-cpu docs clean

help:
	@echo "make demo              serve, observe, simulate the same and compare, on this machine alone, in a minute"
	@echo "make test              tests, doctests and examples of the documentation"
	@echo "make test-statistical  the slow tests: random samples against theory, and more random deployments"
	@echo "make test-real         install vLLM and llama.cpp for CPUs and observe them (REAL=vllm for one of them)"
	@echo "make lint              ruff, mypy --strict, import contracts"
	@echo "make bench             speed, memory and cold start on this machine (BENCH=--quick for a short run)"
	@echo "make bench-h100        the physics model against measurements of vLLM on H100s (BLIS_DATA names their folder)"
	@echo "make bench-vllm-cpu    fits of a real vLLM on a CPU, predicting loads they haven't seen, from traces/vllm-cpu"
	@echo "make docs              write the generated pages and the examples' output anew, check all links"
	@echo "make clean             remove the virtual environment, caches and builds"

demo: $(VENV)/installed
	sh specs/demo.sh $(RUN)

test: $(VENV)/installed-dev
	$(RUN) -m pytest -n auto -m "not statistical and not soak and not real_server"

test-statistical: $(VENV)/installed-dev
	$(RUN) -m pytest -n auto -m statistical --hypothesis-profile thorough

# Real servers have environments of their own, in build/ or in the folder that BLIS_REAL_SERVERS names.
REAL ?= vllm llama.cpp
test-real: $(VENV)/installed-dev
	$(RUN) tests/real/install.py "$${BLIS_REAL_SERVERS:-build/real-servers}" $(REAL)
	$(RUN) -m pytest -m real_server tests/real

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	$(RUN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

bench: $(VENV)/installed
	$(RUN) benchmarks/engine.py $(BENCH)

bench-h100: $(VENV)/installed
	$(RUN) benchmarks/h100/bench.py $(BENCH)

bench-vllm-cpu: $(VENV)/installed
	$(RUN) benchmarks/vllm_cpu.py $(BENCH)

docs: $(VENV)/installed
	PYTHONPATH=. $(RUN) docs/build_reference.py
	PYTHONPATH=. $(RUN) tests/refresh_examples.py
	$(RUN) docs/check_links.py

clean:
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so that an interrupted installation is taken up again.
$(VENV)/installed: pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "blis needs Python 3.11 or later, and there is no '$(PYTHON)'." >&2; \
	  echo "Install it (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "blis needs Python 3.11 or later, and '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)." >&2; \
	  echo "If a later one is installed, name it: make PYTHON=python3.11" >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' ($$("$(PYTHON)" --version 2>&1)) has no venv module or no pip to put into a virtual environment." >&2; \
	  echo "Install them (Debian, Ubuntu: apt-get install python3-venv) or name a complete Python: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
