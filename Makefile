# SPDX-License-Identifier: MIT
# One word per job; people and CI use the same. `make help` lists them.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
KINDS ?= debian12 el9
WORKERS ?= 3
export STOCKADE_BEGAN := $(shell date +%s.%N)

# Tests with hosts mostly wait, so there are more workers than cores; a module stays with one worker.
BESIDE := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

export PYTHONPATH := tests

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP)  ## .venv with everything, from the lock file

$(STAMP): requirements.lock pyproject.toml scripts/setup
	@PYTHON=$(PYTHON) scripts/setup $(VENV)
	@touch $@

.PHONY: packages
packages: $(STAMP)  ## Debian packages that the lab needs (root)
	@$(BIN)/python -m lab packages

.PHONY: check
check: $(STAMP)  ## ruff, mypy strict, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_imports.py

.PHONY: test
test: packages  ## set everything up and run all tests, lab included (root, Debian 12+)
	@$(BIN)/python -m lab build debian11 debian12 debian13 el9
	$(BIN)/pytest -m "alone and not slow"
	$(BIN)/pytest -m "not slow and not alone" $(BESIDE)

.PHONY: unit
unit: $(STAMP)  ## the tests that need no lab
	$(BIN)/pytest -m "not lab and not slow"

.PHONY: conformance
conformance: $(STAMP)  ## compare with a real fail2ban: FAIL2BAN=DIR, or Debian's; FAMILIES="live"
	@$(BIN)/python -m conformance $(FAMILIES) $(FAIL2BAN)

.PHONY: rotation
rotation: $(STAMP)  ## log rotation of every kind under full load, many times
	$(BIN)/pytest -m slow tests/faults/test_rotation.py

.PHONY: vm
vm: packages  ## limits, modules and a reboot under a kernel of its own, in QEMU: 5 minutes (root)
	$(BIN)/pytest -m slow -s tests/system/test_vm.py

.PHONY: bench bench-slow
bench: $(STAMP)  ## the agent beside fail2ban, sshguard, grep: build/bench.json (root; ROWS="busy start")
	@$(BIN)/python -m bench $(ROWS)

bench-slow: $(STAMP)  ## the growth curve up to 10 million lines (root)
	@$(BIN)/python -m bench --slow growth

.PHONY: faults
faults: packages  ## every fault, others beside us, half an hour: build/faults.json (root; ROWS="kill fuzz")
	@$(BIN)/python -m faults $(ROWS)

.PHONY: demo
demo: packages  ## two hosts up, push, attack, bans, status (root, Debian 12+)
	@$(BIN)/python -m demo

.PHONY: lab lab-down
lab: packages  ## real throwaway hosts: KINDS="debian12 el9" (root)
	@$(BIN)/python -m lab up $(KINDS)

lab-down: $(STAMP)  ## end the lab's hosts
	@$(BIN)/python -m lab down

.PHONY: lock
lock: $(STAMP)  ## resolve the newest allowed versions into requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --generate-hashes --python-version 3.11 \
	  --no-emit-index-url --no-annotate --no-header --upgrade --quiet --output-file requirements.lock

.PHONY: build
build: $(STAMP)  ## wheel and sdist into dist/, the agent's zipapp into build/
	$(BIN)/python -m hatchling build
	$(BIN)/python -m stockade.bundle build/stockade-agent.pyz

.PHONY: clean
clean:  ## remove what the targets above made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

.PHONY: molecule
molecule: packages  ## converge the lab's hosts twice under molecule, and verify (root)
	@test -x build/molecule/bin/molecule || ( \
	  echo "molecule: build/molecule from molecule/requirements.lock" && \
	  $(PYTHON) -m venv --clear build/molecule && \
	  build/molecule/bin/pip install --quiet --disable-pip-version-check --require-hashes \
	    -r molecule/requirements.lock )
	@$(BIN)/python -m lab up debian12 el9
	@PATH="$(CURDIR)/build/molecule/bin:$$PATH" STOCKADE_PYTHON="$(CURDIR)/$(BIN)/python" \
	  PYTHONPATH="$(CURDIR)/tests" ANSIBLE_HOME="$(CURDIR)/build/ansible" \
	  $(BIN)/python -m lab run controller -- molecule test --destroy=never; \
	  status=$$?; $(BIN)/python -m lab down; exit $$status
