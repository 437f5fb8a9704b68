# `make demo` and `make test` install what is missing (Debian/Ubuntu, as root); `make test-fast` needs no root.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# a bench shares code with tests (tests/support) and writes its page with the tools
BENCH := PYTHONPATH=tests:tools $(BIN)/python tests/bench
SOURCES := src modules roles deploy tests tools
PROGRAMS := systemd-nspawn:systemd-container mmdebstrap:mmdebstrap ip:iproute2 iptables:iptables ssh:openssh-client cc:gcc gpg:gnupg bwrap:bubblewrap mkfs.xfs:xfsprogs

.PHONY: demo transcript demo-down test test-fast golden lint types docs docs-check ci-lock format system clean bench-lab bench-engine bench-scale bench-distribute bench-verify bench-load compare-inventories test-hosts test-dify test-faults test-causes test-hands test-hardening test-abuse test-ansible test-gpu bench-rollout bench-restarts bench-backup

demo: $(VENV)/.ready | system
	$(BIN)/python tools/demo.py

# the demo, whose transcript goes into docs/how-it-works/demo.md and whose rollout goes into the READMEs
transcript: $(VENV)/.ready | system
	$(BIN)/python tools/demo.py --write

demo-down: $(VENV)/.ready
	$(BIN)/steelyard lab down

# The labs of a whole site take half of two cores, for about as long as all other tests: those run beside them, and are shown at the end.
OUTSIDE := $(filter-out tests/lab/ tests/gpu/,$(sort $(dir $(wildcard tests/*/test_*.py))) $(wildcard tests/test_*.py))
BESIDE := tests/lab/test_dify_stack.py tests/lab/test_guides.py $(wildcard tests/lab/test_hosts_*.py)

test: lint types docs-check $(VENV)/.ready | system
	@mkdir -p build
	@echo "beside the tests of the site's lab: all outside tests/lab, $(BESIDE); shown when all is done (build/beside.log)"
	@$(BIN)/pytest $(OUTSIDE) $(BESIDE) >build/beside.log 2>&1 & beside=$$!; \
	trap 'kill $$beside' INT TERM; set -o pipefail; \
	$(BIN)/pytest tests/lab $(BESIDE:%=--ignore=%) 2>&1 | tee build/site.log; site=$$?; \
	wait $$beside; others=$$?; cat build/beside.log; \
	test $$site = 0 && test $$others = 0 || { $(LAST_WORDS); exit 1; }

# of two long outputs the end is what people and pipelines keep: what failed, in either half, and why
LAST_WORDS := for half in site beside; do grep -E '^(E   |FAILED |ERROR )' build/$$half.log | cut -c1-400 | tail -n 12; done

golden: $(VENV)/.ready
	STEELYARD_WRITE_GOLDEN=1 $(BIN)/pytest -q tests/roles

test-hosts: $(VENV)/.ready | system
	@mkdir -p build
	STEELYARD_HOSTS=all STEELYARD_COUNT_DRIFTS=build/drifts.json $(BIN)/pytest -m hosts
	@cat build/drifts.json

test-fast: $(VENV)/.ready
	$(BIN)/pytest -m "not lab"

lint: $(VENV)/.ready
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(VENV)/.ready
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# mypy follows folders, not setuptools' mapping: give it the mapped layout as links
types: $(VENV)/.ready
	@mkdir -p build/typing/steelyard
	@ln -sfn $(CURDIR)/src/steelyard_host $(CURDIR)/src/dify_double build/typing/
	@for entry in src/steelyard/*; do ln -sfn $(CURDIR)/$$entry build/typing/steelyard/; done
	@for entry in modules roles deploy; do ln -sfn $(CURDIR)/$$entry build/typing/steelyard/; done
	$(BIN)/mypy

docs: $(VENV)/.ready
	$(BIN)/python tools/docs.py
	$(BIN)/python tools/chart.py

docs-check: $(VENV)/.ready
	$(BIN)/python tools/docs.py --check
	$(BIN)/python tools/chart.py --check

# what the CI templates install, into ci/ of the repository that holds the inventory: make ci-lock SITE=../fleet [MORE="--bundle --python 3.12"]
ci-lock: $(VENV)/.ready
	$(BIN)/python tools/ci_lock.py $(SITE) $(MORE)

compare-inventories: $(VENV)/.ready
	$(BIN)/python tools/compare_inventories.py

bench-distribute: $(VENV)/.bench | system
	$(BENCH)/distribute.py

bench-load: $(VENV)/.ready | system
	$(BENCH)/load.py

test-dify: $(VENV)/.ready | system
	@mkdir -p build
	STEELYARD_DIFY=all $(BIN)/pytest -o junit_family=xunit1 --junitxml=build/dify.xml tests/unit/test_dify_*.py tests/lab/test_dify_stack.py; \
	ended=$$?; $(BIN)/python tools/dify_counts.py build/dify.xml && exit $$ended

test-hands: $(VENV)/.ready | system
	@mkdir -p build && rm -f build/hands.jsonl
	STEELYARD_HANDS=all STEELYARD_HANDS_COUNTS=build/hands.jsonl $(BIN)/pytest tests/lab/hands; ended=$$?; \
	$(BIN)/python tools/hands_counts.py build/hands.jsonl && exit $$ended

# the promises of SECURITY.md
HARDENING := STEELYARD_POWER_CUTS=200 STEELYARD_LOCK_SCHEDULES=100000
test-hardening: $(VENV)/.ready | system
	@mkdir -p build
	STEELYARD_DEAR=all STEELYARD_DIFY=all $(HARDENING) $(BIN)/pytest -o junit_family=xunit1 --junitxml=build/hardening.xml \
	  $$($(BIN)/python tools/hardening_counts.py --tests); \
	$(BIN)/python tools/hardening_counts.py build/hardening.xml

test-abuse: $(VENV)/.ready | system
	@mkdir -p build && rm -f build/abuse.jsonl
	STEELYARD_ABUSE_COUNTS=build/abuse.jsonl $(BIN)/pytest tests/lab/test_gateway_abuse.py && \
	$(BIN)/python tools/abuse_counts.py build/abuse.jsonl

test-ansible: $(VENV)/.ready
	STEELYARD_ANSIBLE=all $(BIN)/pytest tests/unit/test_newer_ansible.py

test-causes: $(VENV)/.ready | system
	@mkdir -p build && rm -f build/causes.json
	STEELYARD_CAUSES=all STEELYARD_CAUSES_COUNTS=build/causes.json $(BIN)/pytest -s tests/lab/causes; ended=$$?; \
	cat build/causes.json && exit $$ended

test-faults: $(VENV)/.ready | system
	STEELYARD_FAULTS=all STEELYARD_FAULTS_TABLE=build/faults.json $(BIN)/pytest tests/lab/rollout; ended=$$?; \
	$(BIN)/python tools/faults_page.py build/faults.json && exit $$ended

# on a machine with an NVIDIA GPU, as root, by a Python that has vLLM for it: `make test-gpu GPU_PYTHON=/opt/vllm/bin/python`
GPU_PYTHON ?= python3
test-gpu:
	PYTHONPATH=src:tests/gpu $(GPU_PYTHON) -m pytest -c /dev/null --rootdir . -p no:cacheprovider --noconftest -q -s tests/gpu

bench-rollout: $(VENV)/.ready | system
	$(BENCH)/rollout.py

bench-restarts: $(VENV)/.ready | system
	$(BENCH)/restarts.py

bench-backup: $(VENV)/.ready
	$(BENCH)/backup.py

bench-verify: $(VENV)/.ready
	$(BENCH)/verify.py

bench-scale: $(VENV)/.bench
	$(BENCH)/scale.py

bench-engine: $(VENV)/.bench | system
	$(BENCH)/engine.py

bench-lab: $(VENV)/.ready | system
	$(BENCH)/lab.py

$(VENV)/.ready: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --quiet --disable-pip-version-check --editable ".[dev]"
	@$(BIN)/python -m compileall -q src modules roles deploy # as pip does for what it copies
	@touch $@

$(VENV)/.bench: $(VENV)/.ready
	$(BIN)/pip install --quiet --quiet --disable-pip-version-check --editable ".[dev,bench]"
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { test "$$(id -u)" = 0 || { echo "no venv in $(PYTHON); as root: apt-get install python3-venv" >&2; exit 1; }; \
	    apt-get -q update && apt-get -q -y install python3-venv; }
	$(PYTHON) -m venv $(VENV)

system:
	@missing=""; for pair in $(PROGRAMS); do \
	  command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	test -e /usr/include/stdio.h || missing="$$missing libc6-dev"; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; \
	  apt-get -q update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $$missing >/dev/null; fi

clean:
	rm -rf $(VENV) build dist src/*.egg-info
