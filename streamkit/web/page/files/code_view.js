/** A block of code that grows: with its language, a button that copies, and colours when it is whole. */

import { copyButton, h } from "./dom.js";
import { highlighted } from "./highlighting.js";

const MOST_OF_A_GROUP = 4000; // characters of a text node: a longer one costs too much at each change
const MOST_WITH_COLOURS = 60_000;

const NAMES = { js: "JavaScript", javascript: "JavaScript", ts: "TypeScript", typescript: "TypeScript", py: "Python",
    python: "Python", sh: "Shell", bash: "Shell", shell: "Shell", json: "JSON", html: "HTML", xml: "XML", css: "CSS",
    sql: "SQL", yaml: "YAML", yml: "YAML", cpp: "C++", cs: "C#", csharp: "C#", rb: "Ruby", ruby: "Ruby", rs: "Rust",
    rust: "Rust", go: "Go", md: "Markdown", text: "Text", plaintext: "Text", diff: "Diff", java: "Java", php: "PHP" };

/** Text in groups of lines, each in an element of its own, so that adding to it costs the same however long it is. */
export class LinesView {
    constructor(element) {
        this.element = element;
        this.text = null; // the last text node
    }

    add(text) {
        let from = 0;
        while (from < text.length) {
            if (this.text === null || this.text.length >= MOST_OF_A_GROUP) {
                // After a line's end, or in the middle of one that is too long to be shown as one.
                this.text = document.createTextNode("");
                this.element.append(h("span.lines", {}, this.text));
            }
            const room = MOST_OF_A_GROUP - this.text.length;
            const at = text.lastIndexOf("\n", from + room - 1);
            let until = text.length - from <= room ? text.length : at >= from ? at + 1 : from + room;
            const code = text.charCodeAt(until - 1);
            if (until < text.length && code >= 0xd800 && code < 0xdc00) until += 1;
            this.text.appendData(text.slice(from, until));
            from = until;
            if (from < text.length) this.text = null;
        }
    }
}

class CodeView {
    constructor(language) {
        this.language = language.toLowerCase();
        this.source = "";
        const known = NAMES[this.language];
        const shown = known ?? language.slice(0, 40);
        this.code = h("code");
        this.pre = h(
            "pre",
            { tabindex: "0", role: "group", "aria-label": shown ? `Code, ${shown}` : "Code", dir: "ltr" },
            this.code,
        );
        const copy = copyButton(() => this.source, "Copy code");
        this.element = h("div.code", {}, h("div.code-head", {}, h("span", {}, shown || "Code"), copy), this.pre);
        this.lines = new LinesView(this.code);
    }

    add(text) {
        this.source += text;
        this.lines.add(text);
    }

    async end() {
        if (this.source.endsWith("\n")) this.source = this.source.slice(0, -1);
        if (!this.language || this.source.length > MOST_WITH_COLOURS) return;
        const fragment = await highlighted(this.source, this.language);
        if (fragment) this.code.replaceChildren(fragment);
    }
}

export function codeView(language) {
    return new CodeView(language);
}
