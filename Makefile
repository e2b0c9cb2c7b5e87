# Two commands do everything on a fresh Debian machine with Python >= 3.11 and make:
#   make sweep    the default sweep on real data, then where to look
#   make test     the test suite
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?= infra/sweeps/wdbc.yaml
OUT ?= out/wdbc

# Runs must not phone home, and one BLAS thread a process is the fastest here.
export RAY_USAGE_STATS_ENABLED = 0
export MLFLOW_DISABLE_TELEMETRY = true
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1

.PHONY: sweep test test-all audit bench compare optima lint types coverage clean

$(READY): pyproject.toml constraints.txt infra/setup.sh
	PYTHON=$(PYTHON) bash infra/setup.sh $(VENV)
	touch $@

sweep: $(READY)
	$(BIN)/qnn sweep $(CONFIG) --out $(OUT)

# What starts no Ray, on all cores; of the pipeline's fast tests two files at a time: each Ray takes all
# cores itself, but one waits for its processes to start while the other computes. The slow ones kill
# processes and nodes at set times, one by one.
TWO_FILES := -n 2 --dist loadfile
WITHOUT_RAY := tests/qnn tests/test_docs.py tests/test_rooms.py

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n auto $(WITHOUT_RAY)
	$(BIN)/python -m pytest -m "not slow" $(TWO_FILES) $(WITHOUT_RAY:%=--ignore %)

test-all: $(READY)
	bash infra/browser.sh
	bash infra/systemd.sh
	bash infra/compiler.sh
	bash infra/object_store.sh
	bash infra/postgres.sh
	$(BIN)/python -m pytest -m slow -n auto tests/qnn
	$(BIN)/python -m pytest -m slow --ignore tests/qnn

bench: $(READY)
	$(BIN)/python -m tests.benchmarks --large

# Our networks beside the baselines, on the paper's sets, then accuracy against bytes and latency: two
# hours of two cores.
COMPARED := planted wdbc wdbc-bits ionosphere ionosphere-bits pima pima-bits pima-relu german-credit german-credit-bits digits-3 digits-3-relu digits digits-relu planted-time wdbc-time ionosphere-time pima-time german-credit-time digits-3-time
compare: $(READY)
	$(BIN)/python -m tests.benchmarks.comparison_data out/comparison/data
	for name in $(COMPARED); do \
	    $(BIN)/qnn sweep infra/sweeps/comparison/$$name.yaml --out out/comparison/$$name || exit 1; \
	done
	$(BIN)/qnn compare $(COMPARED:%=out/comparison/%) --out out/comparison/comparison.html
	$(BIN)/python -m tests.benchmarks.nested out/comparison/accuracy
	$(BIN)/python -m tests.benchmarks.latency

# The tables of docs/optima.md, that of pricing printed: two hours of a core or more.
optima: $(READY)
	$(BIN)/python -m tests.benchmarks.optima --write docs/optima.md
	$(BIN)/python -m tests.benchmarks.optima --activations relu square --write docs/optima.md
	$(BIN)/python -m tests.benchmarks.pricing
	$(BIN)/python -m tests.benchmarks.leaves --write docs/optima.md

audit: $(READY)
	$(BIN)/python infra/audit.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

coverage: $(READY)
	$(BIN)/python -m pytest -m "not slow" tests/qnn --cov=qnn --cov-report=term-missing

clean:
	rm -rf out build .pytest_cache .mypy_cache .ruff_cache
