/** A message: its parts, what can be done with it, and what it cost. */

import { button, copyButton, h, icon } from "./dom.js";
import { textOf, toolName } from "./messages.js";
import { TextView } from "./text_view.js";
import { ToolView } from "./tool_view.js";

const PICTURE = /^data:image\/(?:png|jpeg|gif|webp|avif|bmp)[;,]/i;

class ReasoningView {
    constructor() {
        this.text = new TextView();
        this.label = h("span.name", {}, "Thinking");
        this.element = h("details.reasoning", {}, h("summary", {}, icon("thought"), this.label), this.text.element);
        this.text.element.dir = "auto";
    }

    update(part, live) {
        const over = part.state === "done" || !live;
        this.label.textContent = over ? "Reasoning" : "Thinking…";
        this.element.classList.toggle("live", !over);
        this.text.replace(part.text ?? "", over);
    }
}

class BlockView {
    constructor() {
        this.text = new TextView();
        this.element = this.text.element;
    }

    update(part, live) {
        if (part.providerMetadata?.streamkit?.refusal) this.element.classList.add("refusal");
        this.text.replace(part.text ?? "", part.state === "done" || !live);
    }
}

class FileView {
    constructor() {
        this.element = h("div.file");
        this.url = null;
    }

    update(part) {
        if (this.url === part.url) return;
        this.url = String(part.url ?? "");
        const name = part.filename ?? part.mediaType ?? "file";
        const alt = part.filename ?? "Attached picture";
        if (PICTURE.test(this.url)) this.element.replaceChildren(h("img", { src: this.url, alt }));
        else this.element.replaceChildren(icon("file"), h("span", { dir: "auto" }, name));
    }
}

class SourceView {
    constructor() {
        this.element = h("div.source");
    }

    update(part) {
        const url = String(part.url ?? "");
        const words = part.title || part.filename || url;
        const safe = /^https?:\/\//i.test(url);
        const link = safe
            ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow", dir: "auto" }, words)
            : h("span", { dir: "auto" }, words);
        this.element.replaceChildren(icon("link"), link);
    }
}

function viewFor(part, chat) {
    if (toolName(part) !== null) return new ToolView(chat);
    if (part.type === "text") return new BlockView();
    if (part.type === "reasoning") return new ReasoningView();
    if (part.type === "file" || part.type === "reasoning-file") return new FileView();
    if (part.type === "source-url" || part.type === "source-document") return new SourceView();
    return null;
}

export class MessageView {
    constructor(message, chat) {
        this.chat = chat;
        this.mine = message.role === "user";
        this.body = h("div.body");
        this.foot = h("div.foot");
        this.title = h("h2.hidden", {}, this.mine ? "You" : "Assistant");
        this.wait = h("div.wait", { "aria-hidden": "true" }, h("i"), h("i"), h("i"));
        this.note = h("div.note");
        this.note.hidden = true;
        this.element = h(
            `article.message.${this.mine ? "mine" : "theirs"}`,
            { tabindex: "-1" },
            this.title,
            this.body,
            this.wait,
            this.note,
            this.foot,
        );
        this.parts = []; // {type, view} of each part
        this.edited = null;
        this.footed = "";
        this.update(message, false);
    }

    /** @param live  whether the reply is still coming */
    update(message, live, last = false) {
        this.message = message;
        const parts = message.parts;
        this.parts.splice(parts.length).forEach((each) => each.view?.element.remove());
        parts.forEach((part, at) => {
            const there = this.parts[at];
            if (there?.type !== part.type) {
                const view = this.mine && part.type === "text" ? new PlainView() : viewFor(part, this.chat);
                const next = this.parts.slice(at + 1).find((each) => each.view)?.view.element ?? null;
                if (view) this.body.insertBefore(view.element, next);
                there?.view?.element.remove();
                this.parts[at] = { type: part.type, view };
            }
            this.parts[at].view?.update(part, live);
        });
        this.element.setAttribute("aria-busy", String(live));
        this.wait.hidden = !live || waitsForNothing(parts);
        this.updateNote(live);
        this.updateFoot(live, last);
    }

    updateNote(live) {
        const { state, error } = this.message.metadata ?? {};
        const words = live
            ? ""
            : state === "failed"
              ? `This reply failed${error ? `: ${error}` : "."}`
              : state === "partial"
                ? "This reply was stopped before its end."
                : "";
        if (this.note.textContent === words) return;
        this.note.hidden = words === "";
        this.note.textContent = words;
        this.note.classList.toggle("failed", state === "failed");
    }

    updateFoot(live, last) {
        const text = textOf(this.message);
        const key = JSON.stringify([live, last, this.message.metadata, text === "", this.edited !== null]);
        if (this.footed === key) return;
        this.footed = key;
        if (live || this.edited) return this.foot.replaceChildren();
        const copy = text ? copyButton(() => textOf(this.message), "Copy text") : null;
        const act = this.mine
            ? button("edit", "Edit and ask again", () => this.edit())
            : last
              ? button("again", "Ask for another reply", () => this.chat.regenerate(this.message))
              : null;
        this.foot.replaceChildren(...[copy, act].filter(Boolean));
        const cost = this.mine ? "" : costOf(this.message.metadata ?? {});
        if (cost) this.foot.append(h("span.cost", {}, cost));
    }

    edit() {
        if (!this.chat.idle) return;
        const text = h("textarea", { rows: "3", "aria-label": "Edit your question", dir: "auto" });
        text.value = textOf(this.message);
        const close = () => {
            this.edited = null;
            form.remove();
            this.body.hidden = false;
            this.updateFoot(false, false);
            this.foot.lastElementChild?.focus();
        };
        const save = () => {
            if (!text.value.trim()) return text.focus();
            close();
            this.chat.edit(this.message, text.value);
        };
        text.addEventListener("keydown", (event) => {
            if (event.isComposing) return;
            if (event.key === "Escape") {
                event.stopPropagation();
                close();
            } else if (event.key === "Enter" && !event.shiftKey) {
                event.preventDefault();
                save();
            }
        });
        const form = h(
            "form.editing",
            {},
            text,
            h(
                "div.row",
                {},
                button("send", "Ask again", save, { text: true, kind: "primary" }),
                button("cross", "Cancel", close, { text: true, kind: "secondary" }),
            ),
        );
        this.edited = form;
        this.body.hidden = true;
        this.body.after(form);
        this.updateFoot(false, false);
        text.focus();
        text.setSelectionRange(text.value.length, text.value.length);
    }
}

/** A question is shown as it was typed. */
class PlainView {
    constructor() {
        this.element = h("div.plain", { dir: "auto" });
    }

    update(part) {
        if (this.element.textContent !== part.text) this.element.textContent = part.text;
    }
}

function waitsForNothing(parts) {
    const last = parts.at(-1);
    return last !== undefined && (toolName(last) !== null || ("text" in last && last.state === "streaming" && last.text));
}

const number = new Intl.NumberFormat();

function costOf(metadata) {
    const { model, usage, timeToFirstTokenMs: first } = metadata;
    const told = [];
    if (model) told.push(String(model));
    if (usage?.inputTokens !== undefined) told.push(`${number.format(usage.inputTokens)} tokens in`);
    if (usage?.outputTokens !== undefined) told.push(`${number.format(usage.outputTokens)} out`);
    if (typeof first === "number") {
        told.push(`first token after ${first < 1000 ? `${first} ms` : `${(first / 1000).toFixed(1)} s`}`);
    }
    return told.join(" · ");
}
