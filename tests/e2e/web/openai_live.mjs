// The npm package openai against a server: a stream read chunk by chunk, and by its helper; with usage; a whole reply;
// and the errors of each.
import OpenAI from "openai";

export default async function ({ address, ask }) {
  const client = new OpenAI({ apiKey: "none", baseURL: `${address}/v1`, maxRetries: 0 });
  const asked = (question) => ({ model: "m", messages: [{ role: "user", content: question }] });
  const result = {};

  const first = await client.chat.completions.create({ ...asked("in two"), stream: true });
  let text = "";
  for await (const chunk of first) {
    text += chunk.choices[0]?.delta?.content ?? "";
    if (text === "Hello ") await ask("go on");
  }
  result.text = text;

  for (const include_usage of [true, false]) {
    const usages = [];
    const options = { ...asked("hello"), stream: true, stream_options: { include_usage } };
    for await (const chunk of await client.chat.completions.create(options)) usages.push(chunk.usage ?? null);
    result[`usage ${include_usage}`] = usages.filter(Boolean);
  }
  result.tools = (await client.chat.completions.stream(asked("tools")).finalChatCompletion()).choices[0];
  result.whole = await client.chat.completions.create(asked("hello"));
  for (const question of ["refused", "broken"]) {
    let got = "";
    try {
      for await (const chunk of await client.chat.completions.create({ ...asked(question), stream: true }))
        got += chunk.choices[0]?.delta?.content ?? "";
    } catch (failure) {
      result[question] = { got, message: failure.message, status: failure.status ?? null, kind: failure.constructor.name };
    }
  }
  const left = await client.chat.completions.create({ ...asked("endless"), stream: true });
  for await (const chunk of left) if (chunk.choices[0]?.delta?.content) break;
  await ask("gone");
  return result;
}
