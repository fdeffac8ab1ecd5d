#!/bin/sh
# curl: -N shows each event when it arrives, -f makes a refusal an error. The token stays out of the arguments, which
# others on this machine can read.
set -eu
curl -sSfN "$OPENAI_BASE_URL/chat/completions" \
    -H 'Content-Type: application/json' \
    --config - \
    -d "{\"model\": \"${MODEL:-demo/storyteller}\", \"stream\": true,
         \"messages\": [{\"role\": \"user\", \"content\": \"Tell me a story about a lighthouse.\"}]}" <<END
header = "Authorization: Bearer $OPENAI_API_KEY"
END
