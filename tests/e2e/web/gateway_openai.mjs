// The npm package openai through a gateway: chat completions streamed and whole, usage, tools and their results, JSON
// that is parsed, Responses, models, the errors of each, and leaving in the middle.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ type: "function", function: { name: "look", parameters } }];

export default async function ({ address, given, ask }) {
  const options = { baseURL: address, maxRetries: 0 };
  const client = new OpenAI({ ...options, apiKey: given.token });
  const asked = (what, more = {}) => ({ model: "fast", messages: [{ role: "user", content: `ask: ${what}` }], ...more });
  const create = (...all) => client.chat.completions.create(...all);
  const result = {};

  let text = "";
  for await (const chunk of await create(asked("in two", { stream: true }))) {
    text += chunk.choices[0]?.delta?.content ?? "";
    if (text.trim() === "Hello") await ask("go on");
  }
  result.text = text;
  result.whole = (await create(asked("hello"))).choices[0].message.content;
  for (const include_usage of [true, false]) {
    const usages = [];
    for await (const chunk of await create(asked("hello", { stream: true, stream_options: { include_usage } })))
      if (chunk.usage) usages.push(chunk.usage.total_tokens);
    result[`usage ${include_usage}`] = usages;
  }

  const called = (await client.chat.completions.stream(asked("tools", { tools })).finalChatCompletion()).choices[0];
  const calls = called.message.tool_calls;
  result.tools = [called.finish_reason, calls.map((call) => JSON.parse(call.function.arguments))];
  const again = asked("tools", { tools });
  again.messages.push(called.message);
  again.messages.push(...calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "cold" })));
  result["after tools"] = (await create(again)).choices[0].message.content;
  const response_format = zodResponseFormat(z.object({ city: z.string(), degrees: z.number() }), "weather");
  result.parsed = (await client.chat.completions.parse(asked("json", { response_format }))).choices[0].message.parsed;
  result.models = (await client.models.list()).data.map((model) => model.id);

  result.response = (await client.responses.create({ model: "fast", input: "ask: hello" })).output_text;
  const final = await client.responses.stream({ model: "fast", input: "ask: hello" }).finalResponse();
  result["streamed response"] = final.output_text;

  const failing = async (body, by = client) => {
    let got = "";
    try {
      for await (const chunk of await by.chat.completions.create({ ...body, stream: true }))
        got += chunk.choices[0]?.delta?.content ?? "";
    } catch (failure) {
      const { status, code, requestID: request } = failure;
      return { got, status: status ?? null, code, request, kind: failure.constructor.name };
    }
    return { got };
  };
  result[401] = await failing(asked("hello"), new OpenAI({ ...options, apiKey: "sk-wrong" }));
  result[404] = await failing(asked("hello", { model: "none" }));
  result.broken = await failing(asked("broken"));

  for await (const chunk of await create(asked("endless", { stream: true })))
    if (chunk.choices[0]?.delta?.content) break;
  result.gone = await ask("gone");
  return result;
}
