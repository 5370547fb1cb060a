# make demo and make test need nothing but a Python from 3.10 to 3.13; 3.11 has DGL's kernels too.
FIT := -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
CANDIDATES := python3.11 python3.10 python3 python3.12 python3.13
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p $(FIT) 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2
BIN := .venv/bin
# OGB runners and comparisons of methods take up to hours: they are run by hand.
LONG := benchmarks/ogb_%.py benchmarks/auxiliary_weighting.py benchmarks/few_shot.py \
	benchmarks/adapters.py benchmarks/spatio_temporal.py benchmarks/film_transfer.py \
	benchmarks/molecules.py benchmarks/blend_members.py benchmarks/pretrain_molecules.py \
	benchmarks/noise.py \
	benchmarks/consistency.py benchmarks/federated.py benchmarks/federated_choice.py \
	benchmarks/compression.py \
	benchmarks/domain_recipe.py benchmarks/domain_adaptation.py \
	benchmarks/typed_link_ranking.py
CLAIMS := $(filter-out $(LONG),$(wildcard benchmarks/[a-z]*.py))

.PHONY: help demo test slow check bench

help:
	@echo 'make demo    solubility from few labels, in five ways: a few minutes, no download'
	@echo 'make test    the tests that take seconds (make slow: those that take minutes)'
	@echo 'make check   formatting, lint, types, and which folder may import which'
	@echo 'make bench   every claim in benchmarks/, measured again on this machine'

# Threads that wait by spinning are many times slower as soon as anything else runs, and the
# demo's batches are so small that a second thread costs more than it brings: processes share it.
bench: export OMP_WAIT_POLICY = PASSIVE
demo: export OMP_NUM_THREADS = 1
demo: .venv/installed
	$(BIN)/gtl demo --workers $(WORKERS)

# One thread a worker: the tensors of the tests are small and more threads only fight.
test slow: export OMP_NUM_THREADS = 1
test: .venv/installed
	$(BIN)/python -m pytest -n $(WORKERS)

slow: .venv/installed
	$(BIN)/python -m pytest -m slow

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/compared
	@set -e; for script in $(CLAIMS); do echo "$$script"; $(BIN)/python "$$script"; done

# What benchmarks compare with.
.venv/compared: .venv/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[baselines]'
	@touch $@

# torch comes first and pinned, so that nothing that depends on it fetches another build.
.venv/installed: setup.cfg pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'no Python from 3.10 to 3.13 found; give one: make PYTHON=...'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[chem,dev,federated,search]'
	@touch $@
