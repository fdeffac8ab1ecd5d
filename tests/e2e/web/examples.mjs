// Uses the pages of examples/web as a person does.
const spoken = (page, role) => page.locator(`section[aria-label=${role}]`);
const text = (locator) => locator.innerText();

async function react({ page, address }) {
  await page.goto(address);
  const state = page.getByRole("status");
  const ready = () => page.waitForFunction(() => document.querySelector("[role=status]")?.textContent === "ready");
  const send = async (words) => {
    await page.getByLabel("Message").fill(words);
    await page.getByRole("button", { name: "Send" }).click();
  };
  const last = spoken(page, "assistant").last();
  await ready();

  await send("What is the weather in Oslo?");
  await last.getByText("weather(Oslo): degrees 3.").waitFor();
  await ready();
  const weather = await text(last);

  await send("Refund 300 EUR for order B2");
  await page.getByRole("button", { name: "Allow" }).click();
  await last.getByText("were paid back.", { exact: false }).last().waitFor();
  await ready();
  const refund = await text(last);

  await send("Refund 20 EUR for order C3");
  await page.getByRole("button", { name: "Deny" }).click();
  await last.getByText("You did not approve", { exact: false }).waitFor();
  await ready();
  const denied = await text(last);

  await send("What is the weather in Oslo, in Rome, in Cairo and in Atlantis?");
  await last.getByText("weather(Oslo)", { exact: false }).waitFor();
  await page.reload();
  await last.getByText("weather(Atlantis): degrees 3.", { exact: false }).waitFor();
  await ready();
  const four = await text(last);
  await page.getByRole("button", { name: "Again" }).click();
  await last.getByText("weather(Oslo)", { exact: false }).waitFor();
  // On a busy machine the reply may be over by now, and the button disabled.
  await page.getByRole("button", { name: "Stop" }).click({ timeout: 2000 }).catch(() => {});
  await ready();
  return { weather, refund, denied, four, stopped: await text(last), count: await page.locator("section").count() };
}

async function eventsource({ page, address, ask }) {
  await page.goto(address);
  const state = page.locator("#state");
  const is = (text) => page.locator("#state", { hasText: text }).waitFor();
  const answer = page.locator("#answer");
  await page.getByRole("button", { name: "Ask" }).click();
  await is("streaming");
  const early = await text(answer);
  await is("complete");
  const whole = await text(answer);
  await page.getByRole("button", { name: "Ask" }).click();
  await is("streaming");
  await page.getByRole("button", { name: "Stop" }).click();
  await is("stopped");
  const stopped = await text(answer);
  await page.getByRole("button", { name: "Ask" }).click();
  await is("streaming");
  await ask("lose the connection");
  await is("The connection failed.");
  return { early, whole, stopped };
}

export default (given) => ({ react, eventsource })[given.given](given);
