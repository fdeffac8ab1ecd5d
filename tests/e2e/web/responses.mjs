// Reads bodies with the helper of the npm package openai for Responses. In: JSON, a list of {name, body (base64)}. Out:
// what it makes of them.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import OpenAI from "openai";

let current = null;
const server = createServer((request, response) => {
  request.resume();
  response.writeHead(200, current.headers);
  response.end(Buffer.from(current.body, "base64"));
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const client = new OpenAI({ apiKey: "none", baseURL: `http://127.0.0.1:${server.address().port}/v1`, maxRetries: 0 });
const results = [];
for (current of JSON.parse(readFileSync(0, "utf8"))) {
  const result = { name: current.name, text: "", error: null };
  results.push(result);
  try {
    let last = null;
    for await (const event of client.responses.stream({ model: "m", input: "hi" })) {
      if (event.type === "response.output_text.delta") result.text += event.delta;
      last = event;
    }
    if (!["response.completed", "response.incomplete"].includes(last.type)) throw new Error(`ends with ${last.type}`);
  } catch (failure) {
    result.error = failure.message;
  }
}
server.closeAllConnections();
server.close();
process.stdout.write(JSON.stringify(results));
