// Clients of the AI SDK that a Python test drives command by command: `useChat` in a tab of a browser where there is
// one, or its `Chat` in Node. See chat_clients.py for the commands.
import { Chat } from "@ai-sdk/react";
import { chatOptions, history, nothingTold, snapshotOf } from "./chat_options.mjs";

const SECONDS = 60; // that a condition has to come true

// A tab of the browser with the page in it.
class Tab {
  static async open(address, given, context) {
    const tab = new Tab();
    tab.page = await context.newPage();
    await tab.page.goto(`${given.address ?? address}/client#${encodeURIComponent(JSON.stringify(given))}`);
    await tab.page.waitForFunction(() => window.snapshot);
    return tab;
  }
  call(name, args) {
    return this.page.evaluate(([name, args]) => void window.chat[name](...args), [name, args]);
  }
  async until(condition) {
    const found = `(() => { const s = window.snapshot; return ${condition} ? s : null; })()`;
    const wait = this.page.waitForFunction(found, null, { polling: 20, timeout: SECONDS * 1000 });
    return (await wait.catch(async (error) => {
      throw new Error(`${condition}: ${JSON.stringify(await this.page.evaluate(() => window.snapshot))}`, { cause: error });
    })).jsonValue();
  }
  // A request of the page's own; its status and its text.
  fetch(path, options) {
    const ask = async ([path, options]) => {
      const response = await fetch(path, options);
      return [response.status, await response.text()];
    };
    return this.page.evaluate(ask, [path, options]);
  }
  text() {
    return this.page.locator("main").innerText();
  }
  async reload() {
    await this.page.reload();
    await this.page.waitForFunction(() => window.snapshot);
  }
  close() {
    return this.page.close();
  }
}

// The same in Node.
class Client {
  static async open(address, given) {
    const client = new Client();
    client.given = { address, ...given };
    await client.begin();
    return client;
  }
  async begin() {
    const { given } = this;
    const messages = given.history ? ((await history(given.address, given.id))?.messages ?? []) : given.messages;
    this.told = nothingTold();
    this.chat = new Chat(chatOptions({ ...given, messages }, this.told, () => this.chat));
    if (given.resume) void this.chat.resumeStream();
  }
  call(name, args) {
    if (name === "setMessages") this.chat.messages = args[0];
    else void this.chat[name](...args);
  }
  until(condition) {
    const holds = new Function("s", `return ${condition}`);
    return new Promise((resolve, reject) => {
      const look = () => {
        const now = snapshotOf(this.chat, this.told);
        if (holds(now)) end(() => resolve(structuredClone(now)));
      };
      const late = () => end(() => reject(new Error(`${condition}: ${JSON.stringify(snapshotOf(this.chat, this.told))}`)));
      const limit = setTimeout(late, SECONDS * 1000);
      const removes = ["Messages", "Status", "Error"].map((what) => this.chat[`~register${what}Callback`](look));
      this.told.changed = look;
      const end = (then) => {
        this.told.changed = null;
        clearTimeout(limit);
        removes.forEach((remove) => remove());
        then();
      };
      look();
    });
  }
  async fetch(path, options) {
    const response = await fetch(this.given.address + path, options);
    return [response.status, await response.text()];
  }
  text() {
    return this.chat.messages.flatMap(({ parts }) => parts.map((part) => part.text ?? "")).join("\n");
  }
  // A page that goes away drops its connections.
  async reload() {
    await this.chat.stop();
    await this.begin();
  }
  close() {
    return this.chat.stop();
  }
}

export default async function ({ address, ask, context }) {
  const open = {};
  let last = null;
  for (;;) {
    const command = await ask("next", last);
    if (command === null) return null;
    const { tab, what, value } = command;
    if (what === "open") open[tab] = await (context ? Tab : Client).open(address, value, context);
    last = what === "open" ? null : ((await open[tab][what](...value)) ?? null);
  }
}
