# Thin names for the project's chores; the work is in `cargo xtask` and cargo itself.
.DEFAULT_GOAL := help
MODEL ?= examples/breast-cancer/model.yaml
.PHONY: help setup run test lint bench docs image cluster

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## Install the Debian packages that the tests' Kubernetes needs and that are missing (as root, or with sudo)
	cargo xtask setup

run: ## Train and serve an example on 127.0.0.1:8080 (MODEL=path/to/model.yaml takes another)
	cargo xtask onnxruntime
	cargo xtask examples
	cargo run --quiet --package modelwright -- run $(MODEL)

test: ## Run every test; fetches and builds what the tests need into the user's cache folder
	cargo xtask onnxruntime
	cargo xtask examples
	cargo xtask test-servers
	cargo fmt --all --check
	cargo test --workspace
	cargo xtask clients
	cargo xtask e2e

lint: ## Formatting, clippy, generated files, and cargo-deny where it is installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	@# --all-targets leaves out what needs a cluster, also where it is named beside it.
	cargo clippy --workspace --test cluster --test control-plane --test keda --test node --test upgrade -- --deny warnings
	cargo xtask crds --check
	cargo xtask docs --check
	cargo xtask chart --check
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; \
	else echo "cargo-deny is not installed: cargo install --locked cargo-deny"; fi

bench: ## Measure the server: requests per second, latency, memory, start-up (cargo xtask bench trainer: training)
	cargo xtask bench server

image: ## Write the container image to target/image/modelwright.tar, without Docker
	cargo xtask image

cluster: ## Start a Kubernetes on this machine that knows Modelwright's image (cargo xtask cluster down ends it)
	cargo xtask image
	cargo xtask cluster up >/dev/null
	cargo xtask cluster load-image target/image/modelwright.tar
	@echo "Paste this into a shell to use it:"
	@cargo xtask cluster up

docs: ## Regenerate crds/, the manifest reference and the chart's definition of Models from the types
	cargo xtask crds
	cargo xtask docs
	cargo xtask chart
