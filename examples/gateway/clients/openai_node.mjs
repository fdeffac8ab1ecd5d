// OpenAI's package for Node: npm install openai; node openai_node.mjs
import OpenAI from "openai";

const client = new OpenAI(); // reads OPENAI_BASE_URL, such as http://127.0.0.1:8000/v1, and OPENAI_API_KEY, a token
const stream = await client.chat.completions.create({
  model: process.env.MODEL ?? "demo/storyteller",
  messages: [{ role: "user", content: "Tell me a story about a lighthouse." }],
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
  if (chunk.usage) console.log(`\n[${chunk.usage.total_tokens} tokens]`);
}
