# Thin names for the project's chores; the work is in `cargo xtask` and cargo itself.
.DEFAULT_GOAL := help
MODEL ?= examples/breast-cancer/model.yaml
.PHONY: help run test lint bench docs

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

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

lint: ## Formatting, clippy, generated files, and cargo-deny where it is installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo xtask crds --check
	cargo xtask docs --check
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; \
	else echo "cargo-deny is not installed: cargo install --locked cargo-deny"; fi

bench: ## Measure the server: requests per second, latency, memory, start-up (cargo xtask bench trainer: training)
	cargo xtask bench server

docs: ## Regenerate crds/ and the manifest reference from the types
	cargo xtask crds
	cargo xtask docs
