# Everything that is done here has one entry. `make demo` and `make test` set up what they need.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUN    := run

.PHONY: demo test run check bench soak fuzz lock clean

demo: $(VENV)/.product ## the main job from start to end, on loopback, in under a minute
	$(BIN)/mta demo

run: $(VENV)/.product ## a configuration in ./run on high ports, and a server for it
	@test -f $(RUN)/mta.toml || $(BIN)/mta init --hostname mail.example.com --domain example.com --dir $(RUN) --high-ports
	cd $(RUN) && ../$(BIN)/mta serve

test: $(VENV)/.developer ## all tests; those that need a program which is missing say its package and are skipped
	$(BIN)/python -m pytest -q -n auto

check: $(VENV)/.developer ## format, lint, types, architecture and the fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n auto -m "not slow and not peer"
	@$(BIN)/python -m tests.sizes

bench: $(VENV)/.developer ## messages per second, memory and CPU, end to end with RSA-2048 signing
	$(BIN)/python -m bench.end_to_end
	$(BIN)/python -m bench.latency
	$(BIN)/python -m bench.latency --idle 500

soak: $(VENV)/.developer ## faults in their long form, and the figures of a long queue: an hour at most
	$(BIN)/python -m bench.soak

fuzz: $(VENV)/.developer ## each reader of strangers' octets, FUZZ_SECONDS each (180)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "atheris>=3.0"
	for target in address parameters data header originators; do \
		$(BIN)/python -m fuzz.run $$target --seconds $(or $(FUZZ_SECONDS),180) || exit 1; done

lock: ## the exact versions that are installed, from the lower bounds in pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--extra postgres pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--extra postgres --extra dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) bench/bin .fuzz .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("mta needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.product: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.developer: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@ $(VENV)/.product
