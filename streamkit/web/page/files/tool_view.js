/** One call of a tool: its arguments as they grow, its result, and the question whether it may run. */

import { LinesView } from "./code_view.js";
import { button, h, icon } from "./dom.js";
import { frames } from "./frames.js";
import { toolName } from "./messages.js";

const MOST = 20_000; // characters that are shown at first

const STATES = {
    "input-streaming": ["loading", "Preparing"],
    "input-available": ["loading", "Running"],
    "approval-requested": ["question", "Needs your approval"],
    "approval-responded": ["loading", "Approved"],
    "output-available": ["check", "Done"],
    "output-error": ["alert", "Failed"],
    "output-denied": ["stop-sign", "Not approved"],
};

// Characters that do not show, or that change the order of others: a person is to approve what is really sent.
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export function visible(text) {
    return text.replace(UNSEEN, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function written(value) {
    if (value === undefined) return "";
    return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

class ValueView {
    constructor(label) {
        this.pre = h("pre", { tabindex: "0", role: "group", "aria-label": label, dir: "auto" });
        this.element = h("div.value", {}, h("div.label", { "aria-hidden": "true" }, label), this.pre);
        this.element.hidden = true;
        this.source = "";
        this.lines = new LinesView(this.pre);
        this.shown = 0;
        this.all = false;
    }

    update(text) {
        if (text === this.source) return;
        if (!text.startsWith(this.source)) {
            this.pre.replaceChildren();
            this.lines = new LinesView(this.pre);
            this.shown = 0;
        }
        this.source = text;
        this.element.hidden = text === "";
        this.show();
    }

    show() {
        const until = this.all ? this.source.length : Math.min(this.source.length, MOST);
        this.lines.add(visible(this.source.slice(this.shown, until)));
        this.shown = until;
        if (until < this.source.length && !this.more) {
            this.more = button("", "Show all", () => {
                this.all = true;
                this.more.remove();
                this.show();
            }, { text: true });
            this.element.append(this.more);
        }
    }
}

export class ToolView {
    /** @param chat  is asked to decide and to answer */
    constructor(chat) {
        this.chat = chat;
        this.state = h("span.state");
        this.name = h("span.name");
        this.mark = h("span.mark");
        this.arguments = new ValueView("Arguments");
        this.output = new ValueView("Result");
        this.form = h("div.decision");
        this.form.hidden = true;
        this.details = h(
            "details.tool",
            {},
            h("summary", {}, this.mark, this.name, this.state),
            h("div.tool-body", {}, this.arguments.element, this.output.element),
        );
        this.element = h("div.tool-box", {}, this.details, this.form);
        this.asks = "";
        this.last = "";
    }

    update(part, live) {
        this.part = part;
        this.live = live;
        frames.request(this);
    }

    paint() {
        const { part } = this;
        const shown = part.preliminary && part.state === "output-available" ? "input-available" : part.state;
        let [mark, words] = STATES[shown] ?? ["loading", ""];
        if (part.state === "approval-responded" && part.approval?.approved === false) {
            [mark, words] = STATES["output-denied"];
        }
        if (mark === "loading" && !this.live) {
            mark = "stop-sign";
            words = part.state === "input-available" && this.chat.mayAnswer(part) ? "Waits for a result" : "Not run";
        }
        if (this.last !== mark + words) {
            this.last = mark + words;
            this.mark.replaceChildren(icon(mark));
            this.mark.className = `mark ${mark}`;
            this.state.textContent = words;
            this.element.dataset.state = part.state;
        }
        this.name.textContent = part.title ?? toolName(part);
        this.arguments.update(part.input === undefined ? (part.inputText ?? "") : written(part.input));
        this.output.update(part.state === "output-error" ? part.errorText : written(part.output));
        this.paintForm();
        return false;
    }

    paintForm() {
        const { part } = this;
        let asks = "";
        if (part.state === "approval-requested") asks = this.chat.decided(part) ?? "approval";
        else if (part.state === "input-available" && !this.live && this.chat.mayAnswer(part)) asks = "answer";
        if (asks === this.asks) return;
        this.asks = asks;
        this.form.hidden = asks === "";
        if (asks === "approval") {
            this.details.open = true;
            this.form.replaceChildren(this.approvalForm());
        } else if (asks === "answer") {
            this.details.open = true;
            this.form.replaceChildren(this.answerForm());
        } else this.form.replaceChildren(h("p.note", {}, asks));
    }

    approvalForm() {
        const name = this.name.textContent;
        const reason = h("input", { type: "text", maxlength: "1000", "aria-label": `Why ${name} is rejected`,
            placeholder: "Reason for a rejection (optional)", autocomplete: "off", dir: "auto" });
        const decide = (approved) => this.chat.decide(this.part, approved, reason.value.trim());
        const form = h(
            "form",
            { "aria-label": `May ${name} run?` },
            h("p", {}, h("strong", {}, name), " wants to run with the arguments above."),
            h(
                "div.row",
                {},
                button("check", "Approve", () => decide(true), { text: true, kind: "primary" }),
                button("cross", "Reject", () => decide(false), { text: true, kind: "secondary" }),
                reason,
            ),
        );
        form.addEventListener("submit", (event) => {
            event.preventDefault(); // Enter in the reason
            decide(false);
        });
        return form;
    }

    answerForm() {
        const text = h("textarea", { rows: "2", "aria-label": `Result of ${this.name.textContent}`, dir: "auto" });
        const send = () => this.chat.answer(this.part, text.value);
        return h("form", {}, h("p", {}, "This call waits for a result from you."), text,
            h("div.row", {}, button("check", "Send the result", send, { text: true, kind: "primary" })));
    }
}
