# Two commands do all, on a fresh Debian machine as root: `make run` and `make test`.
# Everything else here is a step of those two. What is there already is not made again.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: run test lint check fuzz package clean
# Debian's runc, dockerd and nft live in sbin, which a plain `su` leaves out.
export PATH := $(PATH):/usr/sbin:/sbin

PYTHON := .venv/bin/python
# Also where PYTHONDONTWRITEBYTECODE is set, as in many images: an engine that has to compile itself takes twice as
# long to start.
COMPILE := $(PYTHON) -m compileall -q src
ENGINE_PACKAGES := crun etcd-server runc libnftables1 nftables
TEST_PACKAGES := apparmor busybox-static git iproute2 iptables docker.io docker-cli docker-compose docker-registry podman skopeo

run: .venv/engine
	@$(COMPILE)
	@packaging/packages.sh $(ENGINE_PACKAGES)
	@exec packaging/run.sh

test: lint
	@$(COMPILE)
	@packaging/packages.sh $(ENGINE_PACKAGES) $(TEST_PACKAGES)
	$(PYTHON) -m pytest

lint: .venv/development
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

check: .venv/engine
	@packaging/run.sh check

# Schemathesis against an engine, by the document of its routes. The tool has an environment of its own.
fuzz: .venv/development .venv/fuzz/bin/schemathesis
	@packaging/packages.sh $(ENGINE_PACKAGES) $(TEST_PACKAGES)
	PATH=$(CURDIR)/.venv/fuzz/bin:$(PATH) $(PYTHON) -m tests.fuzz

# A wheel (`pipx install dist/lighterman-*.whl`) and a Debian package, in dist.
package: .venv/engine
	@packaging/deb.sh

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/fuzz/bin/schemathesis: .venv/bin/python
	@packaging/venv.sh .venv/fuzz
	.venv/fuzz/bin/pip install --quiet --disable-pip-version-check 'schemathesis>=4.32,<5'

.venv/bin/python:
	@packaging/venv.sh .venv

# The stamps lie in .venv and go with it. The interpreter is followed to the system's, so that a new one of
# these makes all anew, as a changed pyproject.toml does.
.venv/engine: pyproject.toml .venv/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/development: pyproject.toml .venv/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/engine
