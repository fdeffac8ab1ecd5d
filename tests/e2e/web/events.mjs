// A browser's own EventSource, on a page of the server. Everything it is given is collected. With `stays` the page tells
// the test of each piece, and does not close the source itself.
export default async function ({ page, address, given, ask }) {
  await page.goto(address + (given.page ?? "/"));
  await page.exposeFunction("ask", ask);
  return await page.evaluate(
    ({ paths, text, stays }) => {
      const listen = (path) =>
        new Promise((resolve) => {
          const got = { text: "", pieces: 0, ids: [], events: [], connections: 0, readyState: null };
          const source = new EventSource(path);
          if (stays) window.ask("asked");
          const end = () => {
            source.close();
            resolve(got);
          };
          source.onopen = () => void got.connections++;
          source.onmessage = async ({ data, lastEventId }) => {
            got.text += JSON.parse(data).content;
            got.ids.push(lastEventId);
            if (stays) await window.ask("got", ++got.pieces);
            else if (got.text === text) await window.ask("go on");
          };
          for (const name of ["reasoning", "tool_call", "tool_result", "done"])
            source.addEventListener(name, ({ data, lastEventId }) => {
              got.events.push([name, JSON.parse(data)]);
              got.ids.push(lastEventId);
              if (name === "done" && !stays) end();
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
