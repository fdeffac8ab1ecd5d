// A browser's own EventSource, on a page of the server. Everything it is given is collected.
export default async function ({ page, address, given, ask }) {
  await page.goto(`${address}/`);
  await page.exposeFunction("ask", ask);
  return await page.evaluate(
    ({ paths, text }) => {
      const listen = (path) =>
        new Promise((resolve) => {
          const got = { text: "", ids: [], events: [], connections: 0, readyState: null };
          const source = new EventSource(path);
          const end = () => {
            source.close();
            resolve(got);
          };
          source.onopen = () => void got.connections++;
          source.onmessage = async ({ data, lastEventId }) => {
            got.text += JSON.parse(data).content;
            got.ids.push(Number(lastEventId));
            if (got.text === text) await window.ask("go on");
          };
          for (const name of ["reasoning", "tool_call", "tool_result", "done"])
            source.addEventListener(name, ({ data, lastEventId }) => {
              got.events.push([name, JSON.parse(data)]);
              got.ids.push(Number(lastEventId));
              if (name === "done") end();
            });
          source.addEventListener("error", ({ data }) => {
            got.readyState = source.readyState;
            // Without data it is the browser's own, of the connection. CLOSED: it will not connect again.
            if (data !== undefined) got.events.push(["error", JSON.parse(data)]);
            if (data !== undefined || source.readyState === EventSource.CLOSED) end();
          });
        });
      return Promise.all(paths.map(listen));
    },
    given,
  );
}
