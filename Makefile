# `make help` lists the targets.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help run demo check test contract chart rollout observability console screenshots image soak fuzz bench generate install-deps

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')" 2>/dev/null \
		|| grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST)

run: ## Build and start the gateway with simulated accounts; prints how to point Claude Code at it
	@scripts/run.sh

demo: ## Build and start gateways with 12 simulated accounts and 40 users at work; prints the console's address
	@scripts/install-deps.sh demo
	@cargo build --quiet --all-features --bins
	@python3 scripts/demo.py

check: ## The inner loop: format, lints, unit tests
	@cargo fmt --check
	@cargo clippy --quiet --all-targets --all-features -- -D warnings
	@. .ci/lib.sh && rust_tests --all-features --lib

test: ## Install what is missing and run everything CI runs
	@.ci/all.sh

contract: ## What a gateway owes Claude Code; URL=… KEY=… examines another one
	@URL="$(URL)" KEY="$(KEY)" tests/contract/run.sh

chart: ## The Helm chart, k8s/ and what the image is built from
	@.ci/chart.sh

rollout: ## Rolling updates under load, behind an nginx
	@.ci/rollout.sh

observability: ## Alerts, dashboards and runbooks, beside a Prometheus
	@.ci/observability.sh

console: ## Consoles in a real Chromium, on three replicas
	@.ci/console.sh

screenshots: ## Take the pictures of the console in docs/images, of the demo
	@scripts/install-deps.sh test
	@cargo build --quiet --all-features --bins
	@.cache/venv/bin/python scripts/screenshots.py

image: ## Build the image and start it; needs a docker engine
	@scripts/image.sh

soak: ## The long runs, each with its seed
	@.ci/soak.sh

fuzz: ## Each fuzz target for ten minutes, or SECONDS_EACH=…
	@scripts/fuzz.sh

bench: ## The gateway beside a bare relay, Envoy and the Node.js program: cost, latency, memory; PARTS="--latency --soak 30" picks some
	@scripts/install-deps.sh bench
	@cargo bench --features simulator --bench gateway -- $(PARTS)

generate: ## Write all generated files (after `make install-deps`)
	@mkdir -p .cache docs
	@cargo run --quiet --all-features --bin antigravity-proxy -- config docs >.cache/configuration.md
	@mv .cache/configuration.md docs/configuration.md
	@cargo run --quiet --all-features --bin antigravity-proxy -- openapi >.cache/openapi.json
	@mv .cache/openapi.json docs/openapi.json
	@cargo run --quiet --all-features --bin antigravity-proxy -- config docs --metrics >.cache/metrics.md
	@mv .cache/metrics.md docs/metrics.md
	@PATH="$(CURDIR)/.cache/venv/bin:$$PATH" npm --prefix web run --silent types >/dev/null
	@node web/first.js
	@.cache/venv/bin/python scripts/dashboards.py
	@.cache/venv/bin/python scripts/chart.py

install-deps: ## Install what building and testing need
	@scripts/install-deps.sh test
