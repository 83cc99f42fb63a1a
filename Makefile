# make gate      set up, build the bundled example, gate it through `dvc repro`, show the findings
# make test      set up, run the tests; of simulations of intervals' coverage, a sample
# make coverage  set up, run those simulations in full
# make lowest    tests that use each dependency, at its lowest version in pyproject.toml
# make zoo-check twenty-six small backbones of fresh seeds, on which gate must be wrong no more often than it
#                publishes; half an hour on two cores
# make check     what CI runs: tests, simulations in full, lowest versions, zoo-check, ruff, mypy --strict
# make tables    write what follows from tables and models: README's table of probes, docs/reference,
#                policies/schema.json
# make docs      build docs/ as HTML in out/docs; a warning or a link that leads nowhere is an error

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: gate gate-cifar test coverage lowest zoo-check check tables docs clean

gate: .venv/.installed
	dvc repro --quiet report plots
	dvc repro --quiet admit@clean
	python -m pipelines.digits.summary

gate-cifar: .venv/.installed
	@if [ -d ../shared/data ]; then dvc repro --quiet pipelines/cifar/dvc.yaml && \
	for name in resnet20 resnet20_safetensors wrn16 wrn16_safetensors badnet; do \
	echo "--- $$name"; gate report out/cifar/$$name/verdict.json; done; \
	else echo "gate-cifar: skipped, ../shared/data is absent"; fi

# two processes on two cores: more threads would only wait for each other; see tests/conftest.py
# for the order of the files
test: .venv/.installed
	OMP_NUM_THREADS=1 python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

coverage: .venv/.installed
	OMP_NUM_THREADS=1 python -m pytest -m coverage --coverage full

# made anew each time, and with a cache of its own, so that nothing is left of other versions;
# old libraries warn of what newer ones dropped, so warnings are no errors here
lowest:
	$(PYTHON) -m venv --clear .lowest
	.lowest/bin/pip install --quiet --constraint constraints-lowest.txt --editable '.[gto,mlflow]' \
	filelock hypothesis mlflow pytest pytest-xdist
	OMP_NUM_THREADS=1 .lowest/bin/python -m pytest --numprocesses 2 --dist loadfile \
	--no-loadscope-reorder -W default -o cache_dir=.lowest/cache \
	tests/security tests/backbone tests/data tests/trust tests/measure tests/label_prior tests/reports

FROM ?= 10000
zoo-check: .venv/.installed
	@if [ -d ../shared/data ]; then \
	OMP_NUM_THREADS=1 python -m pipelines.zoo.check --from $(FROM) --workers 2 out/zoo-check/$(FROM); \
	else echo "zoo-check: skipped, ../shared/data is absent"; fi

check: test coverage lowest zoo-check
	ruff check .
	ruff format --check .
	mypy

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

tables: .venv/.installed
	python -m tests.tables

docs: .venv/.docs
	sphinx-build --fail-on-warning --nitpicky --keep-going --quiet -d out/doctrees docs out/docs
	sphinx-build --fail-on-warning --quiet -b linkcheck -d out/doctrees docs out/docs/links

.venv/.docs: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv .lowest out .pytest_cache .mypy_cache .ruff_cache .hypothesis
