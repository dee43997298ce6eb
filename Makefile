# `make help` lists the targets.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help run check test contract soak fuzz bench generate install-deps

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')" 2>/dev/null \
		|| grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST)

run: ## Build and start the gateway with simulated accounts; prints how to point Claude Code at it
	@scripts/run.sh

check: ## The inner loop: format, lints, unit tests
	@cargo fmt --check
	@cargo clippy --quiet --all-targets --all-features -- -D warnings
	@. .ci/lib.sh && rust_tests --all-features --lib

test: ## Install what is missing and run everything CI runs
	@.ci/all.sh

contract: ## What a gateway owes Claude Code; URL=… KEY=… examines another one
	@URL="$(URL)" KEY="$(KEY)" tests/contract/run.sh

soak: ## The long runs, each with its seed
	@.ci/soak.sh

fuzz: ## Each fuzz target for ten minutes, or SECONDS_EACH=…
	@scripts/fuzz.sh

bench: ## The gateway beside a bare relay, same load
	@cargo bench --features simulator --bench gateway

generate: ## Write all generated files
	@mkdir -p .cache docs
	@cargo run --quiet --all-features --bin antigravity-proxy -- config docs >.cache/configuration.md
	@mv .cache/configuration.md docs/configuration.md

install-deps: ## Install what building and testing need
	@scripts/install-deps.sh test
