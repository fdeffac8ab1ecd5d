// Runs a test module for tests/e2e/web/browser.py: `node run.mjs MODULE`. A module's default export is a function of
// {address, given, ask}, and of {browser, context, page} where it wants a browser; what it returns is the result.
// Lines of JSON go both ways. In: {address, given, chromium, flags}, then the answers to what was asked. Out:
// {ask, name, value}, and at the end {result, console, errors}.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const lines = createInterface({ input: process.stdin });
const waiting = new Map();
let asked = 0;
const write = (value) => process.stdout.write(JSON.stringify(value) + "\n");
// Calls a function of the Python test, by its name, and gives what it returned.
const ask = (name, value = null) =>
  new Promise((answered) => {
    waiting.set(++asked, answered);
    write({ ask: asked, name, value });
  });

async function run({ address, given, chromium, flags }) {
  const { default: main } = await import(pathToFileURL(process.argv[2]).href);
  const said = [];
  const errors = [];
  if (!chromium) return { result: await main({ address, given, ask }), console: said, errors };
  const { chromium: playwright } = await import("playwright-core");
  // A new and empty user-data-dir each time is Playwright's own doing.
  const browser = await playwright.launch({ executablePath: chromium, headless: true, args: flags });
  try {
    const context = await browser.newContext();
    context.setDefaultTimeout(60_000);
    context.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
    context.on("weberror", (failure) => errors.push(String(failure.error())));
    const page = await context.newPage();
    const result = await main({ address, given, ask, browser, context, page });
    return { result, console: said, errors };
  } finally {
    await browser.close();
  }
}

let started = false;
lines.on("line", async (line) => {
  const message = JSON.parse(line);
  if (started) {
    waiting.get(message.ask)(message.answer);
    return;
  }
  started = true;
  try {
    const outcome = await run(message);
    write({ ...outcome, result: outcome.result ?? null });
  } catch (failure) {
    console.error(failure);
    process.exitCode = 1;
  }
  lines.close();
  process.stdout.write("", () => process.exit());
});
