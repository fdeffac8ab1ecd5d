// Reads bodies with the parser of the AI SDK 4. In: JSON, a list of {name, body (base64)}. Out: the last message of each.
import { readFileSync } from "node:fs";
import { callChatApi } from "@ai-sdk/ui-utils";

const results = [];
for (const { name, body } of JSON.parse(readFileSync(0, "utf8"))) {
  let message = null;
  let finished = null;
  let error = null;
  try {
    await callChatApi({
      api: "/api/chat",
      body: {},
      fetch: async () => new Response(Buffer.from(body, "base64")),
      onUpdate: (update) => (message = update.message),
      onFinish: (last, end) => {
        message = last;
        finished = end;
      },
      restoreMessagesOnFailure: () => {},
      generateId: () => "invented",
    });
  } catch (failure) {
    error = failure.message;
  }
  results.push({ name, message, error, finishReason: finished?.finishReason ?? null, usage: finished?.usage ?? null });
}
process.stdout.write(JSON.stringify(results));
