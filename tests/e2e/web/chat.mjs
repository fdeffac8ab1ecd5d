// Feeds bodies to the real client of the AI SDK, as a server on the loopback interface, and prints what it makes of them.
// In: JSON, a list of {name, body (base64), headers, messages, transport, pieces, second}. Out: JSON, a list of results.
// `second` is what the person then does, {approvals, outputs}, and the body that answers it.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport, TextStreamChatTransport } from "ai";

const cases = JSON.parse(readFileSync(0, "utf8"));
let current = null;
let bodies = [];
const requests = [];
const server = createServer((request, response) => {
  let text = "";
  request.on("data", (piece) => (text += piece));
  request.on("end", async () => {
    requests.push(text);
    response.writeHead(current.status ?? 200, current.headers);
    const body = Buffer.from(bodies.shift(), "base64");
    if (current.pieces) {
      for (const byte of body) response.write(Buffer.from([byte]));
    } else {
      response.write(body);
    }
    response.end();
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const api = `http://127.0.0.1:${server.address().port}/api/chat`;
const results = [];
for (current of cases) {
  bodies = [current.body];
  const data = [];
  const calls = [];
  let finished = null;
  const Transport = current.transport === "text" ? TextStreamChatTransport : DefaultChatTransport;
  const chat = new Chat({
    id: "chat-1",
    messages: current.messages ?? [],
    transport: new Transport({ api }),
    onData: (part) => data.push(part),
    onToolCall: ({ toolCall }) => void calls.push(toolCall),
    onFinish: ({ isAbort, isError, finishReason }) => (finished = { isAbort, isError, finishReason }),
    onError: () => {},
  });
  await (current.messages?.length ? chat.sendMessage() : chat.sendMessage({ text: "go" }));
  const second = current.second;
  if (second) {
    for (const answer of second.approvals) await chat.addToolApprovalResponse(answer);
    for (const output of second.outputs) await chat.addToolOutput(output);
    bodies = [second.body];
    await chat.sendMessage();
  }
  const last = chat.messages.at(-1);
  results.push({
    name: current.name,
    message: last?.role === "assistant" ? last : null,
    status: chat.status,
    error: chat.error?.message ?? null,
    count: chat.messages.length,
    onData: data,
    onToolCall: calls,
    onFinish: finished,
    request: requests.at(-1),
  });
}
server.closeAllConnections();
server.close();
process.stdout.write(JSON.stringify(results));
