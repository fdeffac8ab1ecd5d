"""The harness itself: a module runs in Node and in a browser, speaks with its test, and fails with its own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.web.browser import bundle, flask_server, needs_browser, needs_clients, run_browser, run_node

flask = pytest.importorskip("flask", reason="needs flask")


@needs_clients
def test_a_module_in_node(tmp_path: Path) -> None:
    """It has what it was given, asks the test, and its result comes back; an error in it is the test's."""
    module = tmp_path / "module.mjs"
    module.write_text("export default async ({given, ask}) => [given, await ask('double', 4)];")
    assert ["é", 8] == run_node(module, given="é", calls={"double": lambda number: 2 * number}).result
    module.write_text("export default async () => { throw new Error('this went wrong'); };")
    with pytest.raises(AssertionError, match="this went wrong"):
        run_node(module)


@needs_browser
def test_a_page_in_chromium(tmp_path: Path) -> None:
    """A bundle with React is rendered; what it writes to the console and what it throws is kept."""
    app = flask.Flask("test", static_folder=str(tmp_path), static_url_path="/files")
    app.add_url_rule("/", view_func=lambda: "<main></main><script type=module src=/files/hello.js></script>")
    (tmp_path / "hello.jsx").write_text(
        'import { createRoot } from "react-dom/client";\n'
        "const Hello = ({ name }) => <h1>Hello, {name}</h1>;\n"
        'createRoot(document.querySelector("main")).render(<Hello name="é" />);\n'
        'console.warn("said"); setTimeout(() => { throw new Error("uncaught"); });\n'
    )
    (tmp_path / "module.mjs").write_text(
        "export default async ({page, address}) => {\n"
        "  const thrown = page.waitForEvent('pageerror');\n"
        "  await page.goto(address);\n"
        "  await thrown;\n"
        "  return page.locator('h1').textContent();\n"
        "};"
    )
    bundle(tmp_path / "hello.jsx", tmp_path)
    with flask_server(app) as address:
        outcome = run_browser(tmp_path / "module.mjs", address)
    assert "Hello, é" == outcome.result
    assert "warning: said" in outcome.console
    assert ["Error: uncaught"] == outcome.errors
