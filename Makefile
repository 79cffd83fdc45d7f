# Needs Python 3.11 to 3.13, make and a package index; everything else goes into .venv.
#   make demo    both frameworks against the baselines on air passengers, into explstm-demo/
#   make test    all checks, then all tests but a few long cases, as in CI
#   make test-all  those too
#   make check   format, lint, types, import contracts, and make audit
#   make audit   fails if a pinned version has a known hole
#   make build   wheel, source distribution, their bill of materials and hashes, into dist/; fails
#                unless a second build gives the same bytes
#   make docs    the documentation site, into site/; fails on any warning
#   make bench   the benchmarks print their tables; cells.py and time_to_error.py take hours and
#                are run by hand
#   make browser Chromium, in which the tests open the report; without it they leave that out
#   make database  PostgreSQL, in which the tests keep studies; without it they leave that out
#   make clean   remove what the targets above made

PYTHON ?= python3
# Three processes on two cores, for many tests wait; tests/conftest.py says which modules go first.
PYTEST_ARGS ?= -q -n 3 --dist loadscope --no-loadscope-reorder

BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
# pip compiles on one core. Some files are for another Python, which is no failure.
COMPILE := -$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib
RUNS := .venv/.runs
TESTS := .venv/.tests

.PHONY: demo test test-all check audit build docs bench clean browser database

demo: $(RUNS)
	$(BIN)/explstm demo --force

test: check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-all: check
	$(BIN)/python -m pytest $(PYTEST_ARGS) --long

check: $(TESTS) audit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(TESTS)
	$(BIN)/python tools/audit.py

build: $(TESTS)
	$(BIN)/python tools/build.py

docs: $(TESTS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# On Debian and its kin, as root; elsewhere install Chromium as usual, or set EXPLSTM_CHROMIUM.
browser:
	command -v chromium >/dev/null || { apt-get -qq update && apt-get -qq install -y chromium; }

# Likewise, or set EXPLSTM_POSTGRESQL to the folder of its programs. No server is left running.
database:
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	  apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql; }

bench: $(TESTS)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/parity.py
	$(BIN)/python benchmarks/steps.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/intervals.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/m3.py --backend torch
	$(BIN)/python benchmarks/m3.py --backend tensorflow

clean:
	rm -rf .venv explstm-demo dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# torch comes first and pinned, so that nothing else can choose its version.
$(RUNS): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(PIP) install --no-compile -c constraints.txt torch==2.13.0
	$(PIP) install --no-compile -c constraints.txt -e '.[torch,tensorflow,metrics,plots]'
	$(COMPILE)
	touch $@

$(TESTS): $(RUNS)
	$(PIP) install --no-compile -c constraints.txt -e '.[all,dev,ray,postgresql]'
	$(COMPILE)
	touch $@
