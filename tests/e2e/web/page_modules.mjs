// Asks the page's modules that need no document, and gives back what they made.
import { readFile, readdir } from "node:fs/promises";
import { pathToFileURL } from "node:url";

export default async ({ given }) => {
  const load = (name) => import(pathToFileURL(`${given.files}/${name}`).href);
  const [{ EventReader }, { Folding }, { Blocks, mended }, { sentences, Speaker }] = await Promise.all(
    ["sse.js", "messages.js", "blocks.js", "speaking.js"].map(load),
  );
  const { default: MarkdownIt } = await load("vendor/markdown-it.esm.min.mjs");

  const read = (bytes, size) => {
    const reader = new EventReader();
    const events = [];
    for (let at = 0; at < bytes.length; at += size) events.push(...reader.push(bytes.subarray(at, at + size)));
    return events;
  };

  const made = {};
  const recorded = {};
  for (const folder of ["streams", "client"]) {
    for (const name of await readdir(`${given.data}/${folder}`)) {
      if (!name.endsWith(".sse")) continue;
      const bytes = new Uint8Array(await readFile(`${given.data}/${folder}/${name}`));
      const whole = read(bytes, bytes.length + 1);
      if (JSON.stringify(whole) !== JSON.stringify(read(bytes, 1))) throw new Error(`${name} differs by bytes`);
      if (JSON.stringify(whole) !== JSON.stringify(read(bytes, 7))) throw new Error(`${name} differs by 7 bytes`);
      const message = { id: "m", role: "assistant", parts: (given.earlier[name] ?? []).map((part) => ({ ...part })) };
      const folding = new Folding(message);
      for (const event of whole) {
        let part;
        try {
          part = JSON.parse(event);
        } catch {
          continue;
        }
        if (part && typeof part.type === "string" && folding.error === null) folding.apply(part);
      }
      const { error, ended, aborted } = folding;
      (folder === "streams" ? made : recorded)[name.slice(0, -4)] = { message, error, ended, aborted };
    }
  }

  const odd = {};
  const encoder = new TextEncoder();
  for (const [name, text] of Object.entries(given.odd)) {
    const bytes = encoder.encode(text);
    odd[name] = [1, 2, 3, 5, bytes.length].map((size) => read(bytes, size));
  }

  // Markdown: cut into blocks, however it came, it is rendered as the whole would be.
  const markdown = new MarkdownIt({ html: false, linkify: true });
  const cut = (text, size, most) => {
    const blocks = new Blocks(most);
    const found = [];
    for (let at = 0; at < text.length; at += size) {
      found.push(...blocks.push(text.slice(at, at + size)));
      mended(blocks.tail);
    }
    return [...found, ...blocks.end()];
  };
  const html = (blocks) => {
    let result = "";
    for (const block of blocks) {
      if (block.type === "markdown") result += markdown.render(block.text);
      else if (block.type === "code") result += `<pre><code${block.language ? ` class="language-${block.language}"` : ""}>`;
      else if (block.type === "line") result += markdown.utils.escapeHtml(block.text);
      else result += "</code></pre>\n";
    }
    return result;
  };
  const documents = {};
  for (const [name, text] of Object.entries(given.documents)) {
    documents[name] = { whole: markdown.render(text), cut: [1, 3, 10, text.length].map((size) => html(cut(text, size))) };
  }
  const long = {};
  for (const [name, [piece, times]] of Object.entries(given.long)) {
    const text = piece.repeat(times);
    const blocks = cut(text, 1000, 2000);
    const texts = blocks.filter((each) => each.text !== undefined).map((each) => each.text);
    long[name] = {
      longest: Math.max(...blocks.filter((each) => each.type === "markdown").map((each) => each.text.length), 0),
      same: texts.join("").replace(/\s/g, "") === text.replace(/\s|```/g, ""),
    };
  }
  const tails = given.tails.map((text) => mended(text));

  globalThis.document = { createElement: () => ({}) };
  const spoken = [];
  const speaker = new Speaker({ append() {}, children: [] });
  speaker.speak = () => {};
  let text = "";
  for (const piece of given.spoken) {
    text += piece;
    speaker.update(text, false);
    spoken.push(speaker.ready.join(" | "));
  }
  speaker.update(text, true);
  spoken.push(speaker.ready.join(" | "));
  clearTimeout(speaker.timer);

  return { made, recorded, odd, documents, long, tails, spoken, rest: sentences("One. Two", false).rest };
};
