// Reads bodies with the npm package openai, both ways. In: JSON, a list of {name, body (base64)}. Out: what it makes of them.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import OpenAI from "openai";

let current = null;
const server = createServer((request, response) => {
  request.resume();
  response.writeHead(current.status ?? 200, current.headers);
  response.end(Buffer.from(current.body, "base64"));
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const client = new OpenAI({ apiKey: "none", baseURL: `http://127.0.0.1:${server.address().port}/v1`, maxRetries: 0 });
const question = { model: "m", messages: [{ role: "user", content: "hi" }] };
const results = [];
for (current of JSON.parse(readFileSync(0, "utf8"))) {
  const result = { name: current.name, text: "", usage: null, error: null, completion: null };
  results.push(result);
  try {
    if (current.whole) {
      result.completion = await client.chat.completions.create(question);
      continue;
    }
    for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
      result.text += chunk.choices[0]?.delta?.content ?? "";
      result.usage = chunk.usage ?? result.usage;
    }
    result.completion = await client.chat.completions.stream(question).finalChatCompletion();
  } catch (failure) {
    result.error = { message: failure.message, status: failure.status ?? null, kind: failure.constructor.name };
  }
}
server.closeAllConnections();
server.close();
process.stdout.write(JSON.stringify(results));
