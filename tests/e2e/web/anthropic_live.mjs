// The npm package @anthropic-ai/sdk against a server: streams read event by event, and by its helper; a whole message;
// tools; a thought; and the errors of each.
import Anthropic from "@anthropic-ai/sdk";

export default async function ({ address, given, ask }) {
  const client = new Anthropic({ apiKey: "none", baseURL: address, maxRetries: 0 });
  const asked = (question) => ({ model: "m", max_tokens: 9, messages: [{ role: "user", content: question }] });
  const result = {};

  let text = "";
  for await (const event of await client.messages.create({ ...asked("in two"), stream: true })) {
    if (event.type === "content_block_delta") text += event.delta.text;
    if (text === "Hello ") await ask("go on");
  }
  result.text = text;
  result.late = await client.messages.stream({ ...asked("late"), model: "late" }).finalText();
  result.message = await client.messages.stream(asked("hello")).finalMessage();
  result.whole = await client.messages.create(asked("hello"));

  const tools = { ...asked("tools"), tools: [given.tool] };
  result.tools = await client.messages.stream(tools).finalMessage();
  const calls = result.tools.content.filter((block) => block.type === "tool_use");
  const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: "1 C" }));
  const told = [...tools.messages, { role: "assistant", content: result.tools.content }, { role: "user", content: results }];
  result.answer = await client.messages.create({ ...tools, messages: told });
  const thinking = { type: "enabled", budget_tokens: 1024 };
  result.thought = await client.messages.stream({ ...asked("think"), model: "anthropic/x", thinking }).finalMessage();

  for (const [name, question] of Object.entries({
    refused: asked("refused"),
    dear: { ...asked("hello"), model: "dear" },
    broken: asked("broken"),
  })) {
    let got = "";
    try {
      for await (const event of await client.messages.create({ ...question, stream: true }))
        if (event.type === "content_block_delta") got += event.delta.text;
    } catch (failure) {
      const { message, status = null, type = null } = failure;
      result[name] = { got, message, status, type, kind: failure.constructor.name };
    }
  }
  const left = await client.messages.create({ ...asked("endless"), stream: true });
  for await (const event of left) if (event.type === "content_block_delta") break;
  await ask("gone");
  return result;
}
