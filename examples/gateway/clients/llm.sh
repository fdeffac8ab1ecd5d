#!/bin/sh
# llm of Simon Willison: python -m pip install llm. A model of the gateway is described in two files; here they are in a
# folder of this run, for good they belong into the folder of `llm logs path`. The key has a name of its own, so that the
# token never goes to OpenAI.
set -eu
LLM_USER_PATH="$(mktemp -d)"
export LLM_USER_PATH
trap 'rm -rf "$LLM_USER_PATH"' EXIT
cat >"$LLM_USER_PATH/extra-openai-models.yaml" <<END
- model_id: gateway
  model_name: ${MODEL:-demo/storyteller}
  api_base: $OPENAI_BASE_URL
  api_key_name: gateway
END
(umask 077 && printf '{"gateway": "%s"}' "$OPENAI_API_KEY" >"$LLM_USER_PATH/keys.json")
llm -m gateway --no-log "Tell me a story about a lighthouse."
