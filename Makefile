# Every target sets up what it needs (scripts/setup_env.py) and then runs in that environment
# (scripts/env.sh). `make help` lists the targets.

PYTHON ?= python3
DISTRO ?=
EXTRAS ?=
ARGS ?=
export DISTRO EXTRAS

# Options of `make demo`, given only when set: make demo VIDEO=drive.mp4 BOX=10,20,110,90
demo_options = $(if $(VIDEO),--video '$(VIDEO)') $(if $(BOX),--box '$(BOX)') \
  $(if $(CLICKS),--clicks '$(CLICKS)') $(if $(OUT),--out '$(OUT)') \
  $(if $(WEATHER),--weather '$(WEATHER)') $(if $(DEPTH),--depth)

in_env = scripts/env.sh

.DEFAULT_GOAL := help
.PHONY: help setup demo console test check docs bench fuzz soak audit format clean

help:  ## list the targets
	@echo 'usage: make TARGET [VARIABLE=VALUE...]'
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' Makefile | expand -t 12
	@echo 'variables:'
	@echo '  PYTHON    Python 3.10-3.14 to set up with (python3)'
	@echo '  DISTRO    ROS 2 wheels to use: jazzy or kilted (a sourced ROS 2, else jazzy)'
	@echo '  EXTRAS    optional extras to install as well: ray, browser'
	@echo '  ARGS      more options for the command of demo, console, test and bench'

setup:  ## only set up: virtual environment, ROS 2, messages
	@command -v $(PYTHON) >/dev/null || \
	  { echo 'set-up failed: no $(PYTHON) found; install Python 3.10 to 3.14.' >&2; exit 1; }
	@$(PYTHON) scripts/setup_env.py

demo: setup  ## track an object in a video through the node [VIDEO= BOX=x0,y0,x1,y1 CLICKS= OUT= WEATHER=rain DEPTH=1]
	@$(in_env) robust-vos demo $(demo_options) $(ARGS)

console: setup  ## point at things in a browser: camera, node and page on the demo clip [VIDEO= ARGS='--port 8081']
	@$(in_env) python -m robust_vos_ros.demo.console $(if $(VIDEO),--video '$(VIDEO)') $(ARGS)

test: setup  ## run the tests in one process per core [ARGS='-k memory', ARGS='-n 0 --pdb']
	@OMP_NUM_THREADS=1 $(in_env) python -m pytest -n auto $(ARGS)

check: setup  ## check format, lint and types
	@$(in_env) ruff format --check .
	@$(in_env) ruff check .
	@$(in_env) mypy

docs: .venv-docs/made  ## build the site of the documentation into out/site
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo 'open out/site/index.html; to search as well: python3 -m http.server -d out/site'

.venv-docs/made: requirements/docs.txt
	@$(PYTHON) -m venv --clear .venv-docs
	@.venv-docs/bin/python -m pip install -q --disable-pip-version-check \
	  -r requirements/docs.txt
	@touch $@

bench: setup  ## measure the speed of the shipped model, alone and against SAM2VideoPredictor
	@$(in_env) robust-vos bench --model nano --size 640x480 --objects 1,4,8 $(ARGS)
	@$(in_env) robust-vos bench --model nano --size 640x480 --objects 1,4,8 --against sam2 $(ARGS)

fuzz: setup  ## search for inputs that break something [MINUTES=10 TARGET=bag]
	@OMP_NUM_THREADS=1 $(in_env) python scripts/fuzz.py --minutes $(or $(MINUTES),1) $(TARGET)

soak: setup  ## run node, recorder and console under load and watch them [HOURS=1]
	@OMP_NUM_THREADS=1 $(in_env) python scripts/soak.py --hours $(or $(HOURS),0.1) $(ARGS)

audit: setup .venv-audit/made  ## look for known vulnerabilities and licences of what is installed
	@$(in_env) python scripts/list_licences.py
	@.venv-audit/bin/pip-audit --path $$($(in_env) python -c \
	  'import sysconfig; print(sysconfig.get_path("purelib"))')

.venv-audit/made: requirements/audit.txt
	@$(PYTHON) -m venv --clear .venv-audit
	@.venv-audit/bin/python -m pip install -q --disable-pip-version-check \
	  -r requirements/audit.txt
	@touch $@

format: setup  ## format the code and fix what the linter can fix
	@$(in_env) ruff check --fix-only .
	@$(in_env) ruff format .

clean:  ## remove all that the set-up and the tools made
	rm -rf .venv .venv-* build install log *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
