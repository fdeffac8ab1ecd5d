// The npm package openai against a server of the Responses API: a stream read event by event, and by its helper; a whole
// response; calls and their results; JSON that is parsed; and the errors of each.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

export default async function ({ address, given, ask }) {
  const client = new OpenAI({ apiKey: "none", baseURL: `${address}/v1`, maxRetries: 0 });
  const asked = (input) => ({ model: "m", input });
  const result = {};

  let text = "";
  for await (const event of await client.responses.create({ ...asked("in two"), stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
    if (text === "Hello ") await ask("go on");
  }
  result.text = text;

  const tools = [given.tool];
  result.streamed = await client.responses.stream({ ...asked("tools"), tools }).finalResponse();
  result.whole = await client.responses.create({ ...asked("tools"), tools });
  const calls = result.whole.output.filter((item) => item.type === "function_call");
  const results = calls.map(({ call_id }) => ({ type: "function_call_output", call_id, output: "cold" }));
  const input = [{ role: "user", content: "tools" }, ...result.whole.output, ...results];
  result.again = (await client.responses.create({ ...asked(input), tools })).output_text;
  const format = zodTextFormat(z.object({ city: z.string(), degrees: z.number() }), "weather");
  result.parsed = (await client.responses.parse({ ...asked("json"), text: { format } })).output_parsed;
  result.long = await client.responses.create(asked("long"));

  for (const [name, options] of [
    ["state", { ...asked("hi"), previous_response_id: "resp_0" }],
    ["refused", asked("refused")],
    ["broken", asked("broken")],
  ]) {
    let got = "";
    try {
      for await (const event of await client.responses.create({ ...options, stream: true }))
        if (event.type === "response.output_text.delta") got += event.delta;
    } catch (failure) {
      const { message, code, param } = failure;
      result[name] = { got, message, code, param, status: failure.status ?? null, kind: failure.constructor.name };
    }
  }
  return result;
}
