// What a person does on the chat page. test_page.py names one of these, and looks at what the server got.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

// Before the page's own scripts: what ran that must not, tasks that were too long, and in how many frames text came.
const watch = () => {
  const seen = (window.seen = { ran: [], long: [], violations: [], paints: 0 });
  for (const name of ["alert", "confirm", "prompt", "print", "open"]) window[name] = () => seen.ran.push(name);
  Object.defineProperty(window, "pwned", { set: (value) => seen.ran.push(value), get: () => undefined });
  document.addEventListener("securitypolicyviolation", (event) => {
    seen.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
  });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) seen.long.push(Math.round(entry.duration));
  }).observe({ type: "longtask", buffered: true });
  let before = 0;
  const frame = () => {
    const text = document.querySelector(".theirs .body > .text")?.lastElementChild?.textContent.length ?? 0;
    if (text !== before) seen.paints += 1;
    before = text;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
};

const ready = (page) => page.waitForSelector('body[data-status="ready"]');
const type = (page, text) => page.fill("#question", text);
async function send(page, text) {
  await type(page, text);
  await page.keyboard.press("Enter");
}
async function sendAndWait(page, text) {
  const before = await page.locator(".mine").count();
  await send(page, text);
  const over = (count) => document.querySelectorAll(".mine").length > count && document.body.dataset.status === "ready";
  await page.waitForFunction(over, before);
}
// The live region has the same words.
const said = (page, words) => page.locator("#messages").getByText(words).first();
const reply = (page) => page.locator(".theirs").last().locator(".body .text").last();
const seen = (page) => page.evaluate(() => window.seen);
const texts = (page, selector) => page.locator(selector).allInnerTexts();
// After the last frame that had anything to do.
const painted = (page) =>
  page.evaluate(async () => {
    const { frames } = await import(document.querySelector("script[type=module]").src.replace("main.js", "frames.js"));
    while (frames.asked) await new Promise((done) => requestAnimationFrame(done));
  });

// Returns the longest tasks of the page's own thread, in milliseconds of the processor: what they take on a machine that
// has nothing else to do.
async function worked(browser, page, does) {
  await browser.startTracing(page, { categories: ["toplevel", "devtools.timeline"] });
  await does();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const main = new Set(
    traceEvents.filter((each) => each.name === "thread_name" && each.args.name === "CrRendererMain").map((each) => `${each.pid} ${each.tid}`),
  );
  const tasks = traceEvents.filter((each) => /RunTask$/.test(each.name) && each.tdur && main.has(`${each.pid} ${each.tid}`));
  if (!tasks.length) throw new Error("the trace has no tasks");
  return tasks.map((each) => Math.round(each.tdur / 1000)).sort((a, b) => b - a).slice(0, 5);
}

const actions = {
  async streams({ page, address }) {
    await page.goto(address);
    await sendAndWait(page, "Tell");
    await page.locator(".cost").waitFor();
    return { ...(await seen(page)), text: await reply(page).innerText(), cost: await page.locator(".cost").innerText() };
  },

  async stops({ page, address, ask }) {
    await page.goto(address);
    await send(page, "Tell");
    await said(page, "First words").waitFor();
    await page.getByRole("button", { name: "Stop the reply" }).click();
    await ask("stopped");
    await ready(page);
    const note = await page.locator(".note:visible").innerText();
    await page.reload();
    await said(page, "First words").waitFor();
    return { note, again: await page.locator(".note:visible").innerText() };
  },

  async hostile({ page, address, context }) {
    const asked = [];
    context.on("request", (request) => asked.push(request.url()));
    page.on("dialog", (dialog) => dialog.dismiss());
    await page.goto(address);
    await sendAndWait(page, "Show <img src=x onerror=pwned=1><script>pwned=2</script>");
    await said(page, "the end of it all").waitFor();
    await page.evaluate(() => document.querySelectorAll("details").forEach((each) => (each.open = true)));
    await painted(page);
    for (const link of await page.locator("#messages a").all()) await link.hover({ timeout: 500, force: true }).catch(() => {});
    const found = await page.evaluate(() => {
      const all = [...document.querySelectorAll("#messages *")];
      const attributes = all.flatMap((each) => [...each.attributes].map(({ name, value }) => [each.localName, name, value]));
      return {
        elements: [...new Set(all.map((each) => each.localName))],
        handlers: attributes.filter(([, name]) => name.startsWith("on") || ["style", "srcdoc", "name", "id"].includes(name)),
        links: attributes.filter(([, name]) => ["href", "src", "action", "formaction"].includes(name)),
        relations: [...document.querySelectorAll("#messages a[href]")].map((each) => each.rel),
        title: document.title,
      };
    });
    const foreign = asked.filter((url) => !url.startsWith(new URL(address).origin) && !url.startsWith("data:"));
    return { ...(await seen(page)), ...found, foreign };
  },

  async responds({ page, browser, address }) {
    const streamed = await worked(browser, page, async () => {
      await page.goto(address);
      await send(page, "Long");
      await page.waitForSelector('body[data-status="ready"] .cost', { timeout: 150000 });
      await painted(page);
    });
    const count = await page.evaluate(() => {
      const text = document.querySelector(".theirs .body .text").textContent;
      return text.replace(/\s/g, "").length;
    });
    const loaded = await worked(browser, page, async () => {
      await page.reload();
      await page.locator(".theirs .block").first().waitFor();
      await painted(page);
      await page.evaluate(() => (document.querySelector("#scroller").scrollTop = 0));
      await painted(page);
    });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    return { count, wide, streamed, loaded, long: (await seen(page)).long };
  },

  async reloads({ page, address, context, ask }) {
    await page.goto(address);
    await send(page, "Tell");
    await said(page, "First words").waitFor();
    await page.reload();
    await said(page, "First words").waitFor();
    const other = await context.newPage();
    await other.goto(page.url());
    await said(other, "First words").waitFor();
    await ask("go on");
    for (const each of [page, other]) {
      await said(each, "last words").waitFor();
      await ready(each);
    }
    // What is asked in one tab is shown in the other.
    await sendAndWait(other, "More");
    await said(page, "second reply").waitFor();
    await ready(page);
    return [await texts(page, ".body"), await texts(other, ".body")];
  },

  async tells({ page, address, context }) {
    await page.goto(address); // its address has no chat yet, that of the other one has
    await sendAndWait(page, "First");
    const other = await context.newPage();
    await other.goto(page.url());
    await said(other, "The first reply").waitFor();
    await sendAndWait(page, "Second");
    await said(other, "The second reply").waitFor();
    return texts(other, ".body");
  },

  async meets({ page, address, ask }) {
    await page.goto(address);
    await sendAndWait(page, "First");
    await ask("other", new URL(page.url()).hash.slice(1));
    await send(page, "Mine");
    await page.locator(".failure").waitFor();
    const failure = await page.locator(".failure").innerText();
    await said(page, "Reply to the other").waitFor();
    const given = await page.inputValue("#question");
    await ask("go on");
    await ready(page);
    await page.locator("#question").press("Enter");
    await said(page, "Reply to mine").waitFor();
    await ready(page);
    return { failure, given, bodies: await texts(page, ".body") };
  },

  async reconnects({ page, address, ask }) {
    await page.goto(address);
    await send(page, "Tell");
    await said(page, "First words").waitFor();
    await ask("cut");
    await page.locator("#notice:visible").waitFor();
    const notice = await page.locator("#notice").innerText();
    await ask("go on");
    await said(page, "last words").waitFor();
    await ready(page);
    return { notice, text: await reply(page).innerText(), after: await page.locator("#notice").isVisible() };
  },

  async decides({ page, address }) {
    await page.goto(address);
    await sendAndWait(page, "Pay");
    const forms = page.locator(".decision form");
    await forms.first().waitFor();
    const shown = await texts(page, ".tool-box .value pre");
    await page.reload();
    await forms.nth(1).waitFor();
    const again = await texts(page, ".tool-box .value pre");
    await send(page, "Never mind");
    await page.locator(".failure").waitFor();
    const refused = await page.locator(".failure").innerText();
    await forms.first().getByRole("button", { name: "Approve" }).click();
    await said(page, "It goes on when you have decided").waitFor();
    await forms.first().getByRole("textbox").fill("too dear");
    await forms.first().getByRole("button", { name: "Reject" }).click();
    await said(page, "All done").waitFor();
    await ready(page);
    const states = await texts(page, ".tool-box .state");
    await page.reload();
    await said(page, "All done").waitFor();
    return { shown, again, refused, states, after: await texts(page, ".tool-box .state") };
  },

  async answers({ page, address }) {
    await page.goto(address);
    await sendAndWait(page, "Where am I?");
    const form = page.locator(".decision form");
    await form.getByRole("textbox").fill('{"at": "home"}');
    await form.getByRole("button", { name: "Send the result" }).click();
    await said(page, "At home").waitFor();
    return texts(page, ".tool-box .state");
  },

  async retries({ page, address }) {
    await page.goto(address);
    const failures = [];
    await send(page, "Tell");
    for (let at = 0; at < 2; at += 1) {
      await page.locator(".failure").waitFor();
      failures.push(await page.locator(".failure").innerText());
      await page.getByRole("button", { name: "Try again" }).click();
    }
    await said(page, "At last").waitFor();
    await ready(page);
    const bodies = await texts(page, ".body");
    await page.reload();
    await said(page, "At last").waitFor();
    return { failures, bodies, after: await texts(page, ".body"), still: await page.locator(".failure").count() };
  },

  async edits({ page, address }) {
    await page.goto(address);
    await sendAndWait(page, "a");
    await said(page, "One.").waitFor();
    await page.getByRole("button", { name: "Ask for another reply" }).click();
    await said(page, "Two.").waitFor();
    await ready(page);
    await sendAndWait(page, "b");
    await said(page, "Three.").waitFor();
    await page.locator(".mine").first().hover();
    await page.getByRole("button", { name: "Edit and ask again" }).first().click();
    await page.getByRole("textbox", { name: "Edit your question" }).fill("c");
    await page.getByRole("button", { name: "Ask again", exact: true }).click();
    await said(page, "Four.").waitFor();
    await ready(page);
    const bodies = await texts(page, ".body");
    await page.reload();
    await said(page, "Four.").waitFor();
    return [bodies, await texts(page, ".body")];
  },

  async keys({ page, address, ask }) {
    await page.goto(address);
    await page.waitForFunction(() => document.activeElement.id === "question");
    await page.keyboard.type("one");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("two");
    await page.keyboard.press("Enter");
    await said(page, "First words").waitFor();
    await page.keyboard.press("Escape");
    await ask("stopped");
    await ready(page);
    const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.tagName);
    const after = await focused();
    // Backwards from the question to what can be done with the messages.
    const passed = [];
    for (let at = 0; at < 20; at += 1) {
      await page.keyboard.press("Shift+Tab");
      passed.push(await focused());
      if (passed.at(-1) === "Edit and ask again") break;
    }
    await page.keyboard.press("Enter");
    const editing = await focused();
    await page.keyboard.press("Escape");
    const left = await focused();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("three");
    await page.keyboard.press("Enter");
    await said(page, "Second words").waitFor();
    await ready(page);
    return { after, passed, editing, left, mine: await texts(page, ".mine .body"), spoken: await texts(page, "#spoken") };
  },

  async files({ page, address, given }) {
    await page.goto(address);
    await page.setInputFiles("input[type=file]", [
      { name: "dot.png", mimeType: "image/png", buffer: Buffer.from(given.picture, "base64") },
      { name: "note.txt", mimeType: "text/plain", buffer: Buffer.from("hello") },
    ]);
    await page.getByRole("button", { name: "Remove note.txt" }).click();
    await sendAndWait(page, "What is it?");
    await said(page, "A dot.").waitFor();
    await page.reload();
    await said(page, "A dot.").waitFor();
    return page.locator(".mine img").evaluate((image) => [image.alt, image.naturalWidth]);
  },

  async picks({ page, address }) {
    await page.goto(address);
    const select = page.getByRole("combobox", { name: "Model" });
    await select.waitFor();
    const models = await select.locator("option").allInnerTexts();
    const values = [await select.inputValue()];
    await select.focus();
    await page.keyboard.press("ArrowDown");
    values.push(await select.inputValue());
    await sendAndWait(page, "a");
    await said(page, "One.").waitFor();
    await page.reload();
    await said(page, "One.").waitFor();
    await select.waitFor();
    values.push(await select.inputValue());
    await select.selectOption({ index: 0 });
    await page.getByRole("button", { name: "Ask for another reply" }).click();
    await said(page, "Two.").waitFor();
    await ready(page);
    await select.selectOption({ index: 1 });
    await page.locator(".mine").first().hover();
    await page.getByRole("button", { name: "Edit and ask again" }).first().click();
    await page.getByRole("textbox", { name: "Edit your question" }).fill("b");
    await page.getByRole("button", { name: "Ask again", exact: true }).click();
    await said(page, "Three.").waitFor();
    await ready(page);
    const costs = await texts(page, ".cost");
    return { ...(await seen(page)), models, values, costs };
  },

  async picksUnkept({ page, address, given }) {
    await page.addInitScript((kept) => {
      const refuse = () => {
        throw new DOMException("no storage", "SecurityError");
      };
      if (kept) localStorage.setItem("streamkit model /desk/", kept);
      else Object.defineProperty(window, "localStorage", { get: refuse });
    }, given.kept ?? "");
    await page.goto(address);
    const select = page.locator("#model");
    await sendAndWait(page, "a");
    const shown = await select.isVisible();
    const first = await select.inputValue();
    if (given.pick) {
      await select.selectOption(given.pick);
      await sendAndWait(page, "b");
    }
    return { shown, first };
  },

  async picksRefused({ page, address, ask }) {
    await page.goto(address);
    await page.locator("#model").selectOption("openai/n");
    await ask("take away");
    await send(page, "a");
    await page.locator(".failure").waitFor();
    const failure = await page.locator(".failure").innerText();
    await page.waitForFunction(() => document.querySelector("#model").options.length === 2);
    const left = await page.locator("#model option").allInnerTexts();
    await page.getByRole("button", { name: "Try again" }).click();
    await said(page, "One.").waitFor();
    await ready(page);
    return { failure, left, bodies: await texts(page, ".body") };
  },

  async decidesPicking({ page, address }) {
    await page.goto(address);
    await page.locator("#model").selectOption("openai/n");
    await send(page, "Pay");
    await page.locator(".decision form").first().waitFor();
    await page.locator("#model").selectOption("openai/m");
    await page.getByRole("button", { name: "Approve" }).click();
    await said(page, "All done.").waitFor();
    await ready(page);
  },

  async signsOut({ page, address, given }) {
    await page.goto(address);
    await page.getByLabel("Your token").fill(given.token);
    await page.keyboard.press("Enter");
    await page.locator("#model").selectOption("fast");
    await sendAndWait(page, "Hi");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Your token").waitFor();
    const left = page.url();
    await page.goto(address);
    return { left, again: page.url() };
  },

  async chats({ page, address }) {
    await page.goto(address);
    await page.locator("#bar .none").waitFor();
    await sendAndWait(page, "First chat");
    await page.getByRole("button", { name: "New chat" }).first().click();
    await sendAndWait(page, "Second chat");
    await page.locator("#chats a").nth(1).waitFor();
    const listed = await texts(page, "#chats a");
    await page.locator("#chats a").nth(1).click();
    await page.locator(".mine", { hasText: "First chat" }).waitFor();
    await page.goBack();
    await page.locator(".mine", { hasText: "Second chat" }).waitFor();
    await page.getByRole("button", { name: "Delete Second chat" }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.locator("#welcome").waitFor();
    const left = await texts(page, "#chats a");
    await page.reload();
    await page.locator("#chats a").first().waitFor();
    return { listed, left, after: await texts(page, "#chats a"), address: page.url() };
  },

  async alone({ page, address }) {
    await page.goto(`${address}#gone`);
    await page.locator(".failure").waitFor();
    const failure = await page.locator(".failure").innerText();
    await page.getByRole("button", { name: "New chat" }).last().click();
    await sendAndWait(page, "Hello");
    await said(page, "Hello there").waitFor();
    return { failure, bar: await page.locator("#bar").isVisible(), title: await page.title(), url: page.url() };
  },

  async looks({ page, address, given }) {
    const require = createRequire(import.meta.url);
    const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");
    const found = {};
    const look = async (name) => {
      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
        await painted(page);
        // Its own script is put into the page by the debugger's way, which no policy forbids.
        if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
        const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
        found[`${name} ${scheme}`] = result.violations.map(({ id, nodes }) => `${id}: ${nodes.map((each) => each.html).join(" ").slice(0, 500)}`);
        if (given.folder) await page.screenshot({ path: `${given.folder}/${name}-${scheme}.png` });
      }
    };
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.goto(address);
    await look("empty");
    await sendAndWait(page, "Which berth is free?");
    await page.locator(".hljs-keyword").first().waitFor();
    await look("reply");
    await page.evaluate(() => (document.querySelector("#scroller").scrollTop = 0));
    await page.evaluate(() => document.querySelectorAll("details").forEach((each) => (each.open = true)));
    await look("opened");
    await sendAndWait(page, "Pay it");
    await page.locator(".decision form").waitFor();
    await look("approval");
    await page.getByRole("button", { name: "Approve" }).click();
    await page.locator(".failure").waitFor();
    await look("failure");
    await page.locator(".mine").last().hover();
    await page.getByRole("button", { name: "Edit and ask again" }).last().click();
    await look("editing");
    await page.keyboard.press("Escape");
    await page.setViewportSize({ width: 390, height: 800 });
    await page.evaluate(() => (document.querySelector("#scroller").scrollTop = 0));
    await page.locator("#model").selectOption({ index: 2 });
    await look("phone");
    const send = await page.getByRole("button", { name: "Send" }).boundingBox();
    await page.getByRole("button", { name: "Chats" }).click();
    await page.locator("#chats a").first().waitFor();
    await look("phone-chats");
    await page.keyboard.press("Escape");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    return { found, wide: Math.max(wide, Math.ceil(send.x + send.width) - 390) };
  },
};

export default async (all) => {
  if (process.env.PAGE_SECONDS) all.context.setDefaultTimeout(1000 * process.env.PAGE_SECONDS);
  await all.context.addInitScript(watch);
  return actions[all.given.does](all);
};
