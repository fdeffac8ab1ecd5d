/**
 * Markdown to elements. A reply never becomes script, and nothing of it loads or does anything by itself:
 * HTML in it is text (markdown-it), what is made of it passes a short list of elements and attributes (DOMPurify), and
 * links lead to http:, https: and mailto: only. Pictures are links. The Content-Security-Policy stands behind all that.
 */

import MarkdownIt from "./vendor/markdown-it.esm.min.mjs";
import DOMPurify from "./vendor/purify.es.mjs";
import { h } from "./dom.js";
import { codeView } from "./code_view.js";

const SAFE = /^(?:https?:\/\/|mailto:)/i;

const markdown = new MarkdownIt({ html: false, linkify: true, typographer: false, maxNesting: 50 });
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
markdown.validateLink = (url) => SAFE.test(url.trim());

const escape = markdown.utils.escapeHtml;

markdown.renderer.rules.image = (tokens, at) => {
    const token = tokens[at];
    const words = token.content || "picture";
    return `<a href="${escape(token.attrGet("src") ?? "")}">${escape(words)}</a>`;
};
for (const name of ["th", "td"]) {
    // markdown-it aligns by a style, which the Content-Security-Policy forbids.
    markdown.renderer.rules[`${name}_open`] = (tokens, at) => {
        const side = /text-align:(\w+)/.exec(tokens[at].attrGet("style") ?? "");
        return side ? `<${name} class="align-${side[1]}">` : `<${name}>`;
    };
}

const CLEAN = {
    ALLOWED_TAGS: (
        "p br hr h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong s a table thead tbody tr th td"
    ).split(" "),
    ALLOWED_ATTR: ["href", "title", "class", "start"],
    ALLOWED_URI_REGEXP: SAFE,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
};
// Of the page's own rules, and of highlight.js: the sanitiser is one, and so are its hooks.
const CLASS = /^(?:language-[\w+#.-]{1,40}|align-(?:left|right|center)|hljs-[\w-]+(?: [\w-]+_)*)$/;

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
    if (node.hasAttribute?.("class") && !CLASS.test(node.getAttribute("class"))) node.removeAttribute("class");
    if (node.nodeName === "A") {
        if (!SAFE.test(node.getAttribute("href") ?? "")) node.removeAttribute("href");
        else {
            node.setAttribute("target", "_blank");
            node.setAttribute("rel", "noopener noreferrer nofollow");
        }
    }
});

/** What the blocks of one text have in common: references, and the level of the last heading. */
export function context() {
    return { references: {}, level: 2 };
}

/** Return a fragment for Markdown. */
export function render(text, shared) {
    const html = markdown.render(text, shared);
    const fragment = DOMPurify.sanitize(html, CLEAN);
    for (const element of fragment.querySelectorAll("p, li, ul, ol, blockquote, td, th")) element.dir = "auto";
    for (const heading of fragment.querySelectorAll("h1, h2, h3, h4, h5, h6")) replaceHeading(heading, shared);
    for (const code of fragment.querySelectorAll("pre > code")) {
        const language = /language-(\S+)/.exec(code.className)?.[1] ?? "";
        const view = codeView(language);
        view.add(code.textContent);
        view.end();
        code.parentElement.replaceWith(view.element);
    }
    for (const table of fragment.querySelectorAll("table")) {
        const box = h("div.table", { tabindex: "0", role: "group", "aria-label": "Table" });
        table.replaceWith(box);
        box.append(table);
    }
    for (const item of fragment.querySelectorAll("li")) markTask(item);
    return fragment;
}

/** Headings of a reply are below those of the page, and skip no level. */
function replaceHeading(heading, shared) {
    const level = Math.min(Number(heading.tagName[1]) + 2, shared.level + 1, 6);
    shared.level = level;
    const made = h(`h${level}`, { dir: "auto", "data-level": heading.tagName[1] });
    made.append(...heading.childNodes);
    heading.replaceWith(made);
}

function markTask(item) {
    const first = item.firstChild?.nodeName === "P" ? item.firstChild.firstChild : item.firstChild;
    if (first?.nodeType !== Node.TEXT_NODE) return;
    const found = /^\[([ xX])\] /.exec(first.data);
    if (!found) return;
    first.data = first.data.slice(4);
    const done = found[1] !== " ";
    first.before(h("span.task", { role: "img", "aria-label": done ? "done" : "to do" }, done ? "☑ " : "☐ "));
}
