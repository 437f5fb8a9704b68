# Two commands matter: `make demo` and `make test`. Both install what is missing (Debian/Ubuntu, as root).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := src modules roles deploy tests tools
PROGRAMS := systemd-nspawn:systemd-container mmdebstrap:mmdebstrap ip:iproute2 iptables:iptables ssh:openssh-client cc:gcc gpg:gnupg bwrap:bubblewrap mkfs.xfs:xfsprogs

.PHONY: demo demo-down test test-fast golden lint types docs docs-check format system clean bench-lab bench-engine bench-scale bench-distribute bench-verify bench-load compare-inventories test-hosts test-dify test-faults test-gpu bench-rollout bench-backup

demo: $(VENV)/.ready | system
	$(BIN)/python tools/demo.py

demo-down: $(VENV)/.ready
	$(BIN)/steelyard lab down

# The lab of the whole site takes half an hour and half of two cores; all other tests run beside it, and are shown when it has ended.
OUTSIDE := $(filter-out tests/lab tests/gpu tests/__pycache__,$(wildcard tests/*))
BESIDE := tests/lab/test_dify_stack.py $(wildcard tests/lab/test_hosts_*.py)

test: lint types docs-check $(VENV)/.ready | system
	@mkdir -p build
	@echo "beside the tests of the site's lab: all outside tests/lab, $(BESIDE); shown when all is done (build/beside.log)"
	@$(BIN)/pytest $(OUTSIDE) $(BESIDE) >build/beside.log 2>&1 & beside=$$!; \
	trap 'kill $$beside' INT TERM; \
	$(BIN)/pytest tests/lab $(BESIDE:%=--ignore=%); site=$$?; \
	wait $$beside; others=$$?; cat build/beside.log; test $$site = 0 && test $$others = 0

golden: $(VENV)/.ready
	STEELYARD_WRITE_GOLDEN=1 $(BIN)/pytest -q tests/roles

test-hosts: $(VENV)/.ready | system
	@mkdir -p build
	STEELYARD_COUNT_DRIFTS=build/drifts.json $(BIN)/pytest -m hosts
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
	@ln -sfn $(CURDIR)/src/steelyard_host build/typing/steelyard_host
	@for entry in src/steelyard/*; do ln -sfn $(CURDIR)/$$entry build/typing/steelyard/; done
	@for entry in modules roles deploy; do ln -sfn $(CURDIR)/$$entry build/typing/steelyard/; done
	$(BIN)/mypy

docs: $(VENV)/.ready
	$(BIN)/python tools/docs.py

docs-check: $(VENV)/.ready
	$(BIN)/python tools/docs.py --check

compare-inventories: $(VENV)/.ready
	$(BIN)/python tools/compare_inventories.py

bench-distribute: $(VENV)/.bench | system
	$(BIN)/python tests/bench/distribute.py

bench-load: $(VENV)/.ready | system
	$(BIN)/python tests/bench/load.py

test-dify: $(VENV)/.ready | system
	@mkdir -p build
	$(BIN)/pytest -o junit_family=xunit1 --junitxml=build/dify.xml tests/unit/test_dify_*.py tests/lab/test_dify_stack.py; \
	ended=$$?; $(BIN)/python tools/dify_counts.py build/dify.xml && exit $$ended

test-faults: $(VENV)/.ready | system
	STEELYARD_FAULTS=all STEELYARD_FAULTS_TABLE=build/faults.json $(BIN)/pytest tests/lab/rollout; ended=$$?; \
	$(BIN)/python tools/faults_page.py build/faults.json && exit $$ended

# on a machine with an NVIDIA GPU, as root, by a Python that has vLLM for it: `make test-gpu GPU_PYTHON=/opt/vllm/bin/python`
GPU_PYTHON ?= python3
test-gpu:
	PYTHONPATH=src:tests/gpu $(GPU_PYTHON) -m pytest -c /dev/null --rootdir . -p no:cacheprovider --noconftest -q -s tests/gpu

bench-rollout: $(VENV)/.ready | system
	$(BIN)/python tests/bench/rollout.py

bench-backup: $(VENV)/.ready
	$(BIN)/python tests/bench/backup.py

bench-verify: $(VENV)/.ready
	$(BIN)/python tests/bench/verify.py

bench-scale: $(VENV)/.bench
	$(BIN)/python tests/bench/scale.py

bench-engine: $(VENV)/.bench | system
	$(BIN)/python tests/bench/engine.py

bench-lab: $(VENV)/.ready | system
	$(BIN)/python tests/bench/lab.py

$(VENV)/.ready: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --quiet --disable-pip-version-check --editable ".[dev]"
	@$(BIN)/python -m compileall -q src modules roles deploy # as pip does for what it copies
	@touch $@

$(VENV)/.bench: $(VENV)/.ready
	$(BIN)/pip install --quiet --quiet --disable-pip-version-check --editable ".[dev,bench]"
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { apt-get -q update && apt-get -q -y install python3-venv; }
	$(PYTHON) -m venv $(VENV)

system:
	@missing=""; for pair in $(PROGRAMS); do \
	  command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	test -e /usr/include/stdio.h || missing="$$missing libc6-dev"; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; \
	  apt-get -q update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $$missing >/dev/null; fi

clean:
	rm -rf $(VENV) build dist src/*.egg-info
