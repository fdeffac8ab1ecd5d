/** The open chat: its messages, the reply that is being read, and what a person can do. */

import * as api from "./api.js";
import { button, h, icon, randomId } from "./dom.js";
import { frames } from "./frames.js";
import { MessageView } from "./message_view.js";
import { Folding, lastStep, textOf } from "./messages.js";
import { partsOf } from "./sse.js";

const LONGEST_PAUSE = 15_000; // milliseconds between two attempts to connect again
const STOP_PATIENCE = 5000; // milliseconds that a stopped reply may take to end

export class Chat {
    /**
     * @param places  elements: {list, failure, notice}
     * @param speaker
     * @param chosen  returns, in time, the model to ask; `undefined` for the server's own
     * @param changed  called when the status or the chat has changed
     * @param moved  called with the id when a chat has got its first message
     * @param giveBack  called with the text and the files of a question that was not taken
     */
    constructor(places, speaker, { chosen, changed, moved, giveBack }) {
        this.places = places;
        this.speaker = speaker;
        this.chosen = chosen;
        this.changed = changed;
        this.moved = moved;
        this.giveBack = giveBack;
        this.views = [];
        this.turn = new AbortController();
        this.clear();
        this.others = new BroadcastChannel(`streamkit ${new URL(".", document.baseURI)}`);
        this.others.onmessage = ({ data }) => {
            if (data.id === this.id && data.type === "turn") this.catchUp();
            this.changed(data.type);
        };
        document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.catchUp());
    }

    clear() {
        this.turn.abort();
        this.turn = new AbortController();
        this.id = null;
        this.title = "";
        this.messages = [];
        this.live = null; // the folding of the reply that is coming
        this.status = "ready"; // loading, submitted, streaming
        this.suspended = false;
        this.stopping = false;
        this.decisions = new Map();
        this.speaker.reset();
        this.hideFailure();
        this.note("");
        for (const view of this.views) view.element.remove();
        this.views = [];
    }

    get idle() {
        return this.status === "ready";
    }

    // -- opening -----------------------------------------------------------------------------------------

    begin() {
        this.clear();
        this.refresh();
    }

    async open(id) {
        this.clear();
        this.id = id;
        const turn = this.turn;
        this.setStatus("loading");
        try {
            const chat = await this.patiently(() => api.load(id, turn.signal), turn);
            if (chat === null) {
                this.setStatus("ready");
                this.fail(new api.ChatError("This chat is not there any more.", "Begin a new one.", { again: false }));
                return;
            }
            this.adopt(chat);
        } catch (error) {
            this.failed(error, turn, () => this.open(id));
        }
    }

    /** Show what the server has of this chat, and follow its reply where one is being written. */
    adopt(chat) {
        this.title = chat.title ?? "";
        this.messages = chat.messages;
        this.suspended = chat.status === "suspended";
        if (chat.status === "streaming") this.reconnect(this.turn, 0);
        else this.setStatus("ready");
        this.refresh();
    }

    /** Look whether this chat went on elsewhere. */
    async catchUp() {
        if (!this.idle || this.id === null || this.views.some((view) => view.edited)) return;
        const turn = this.turn;
        try {
            const chat = await api.load(this.id, turn.signal);
            if (chat === null || turn !== this.turn || !this.idle) return;
            if (chat.status === "streaming" || outline(chat.messages) !== outline(this.messages)) {
                this.hideFailure();
                this.adopt(chat);
            }
        } catch {
            // The next question will tell.
        }
    }

    // -- what a person does ------------------------------------------------------------------------------

    send(text, files = []) {
        if (!this.idle) return false;
        if (this.suspended && this.undecided().length) {
            this.fail(new api.ChatError("A call waits for your decision.", "Decide on it, then ask.", { again: false }));
            return false;
        }
        const first = this.id === null;
        if (first) this.id = randomId();
        const parts = [...files, ...(text ? [{ type: "text", text }] : [])];
        const message = { id: randomId(), role: "user", parts };
        this.messages.push(message);
        this.ask({ trigger: "submit-message", message });
        if (first) this.moved(this.id);
        return true;
    }

    edit(message, text) {
        const at = this.messages.indexOf(message);
        if (!this.idle || at < 0) return;
        const files = message.parts.filter((part) => part.type === "file");
        const edited = { id: message.id, role: "user", parts: [...files, { type: "text", text }] };
        this.messages.splice(at, Infinity, edited);
        this.ask({ trigger: "submit-message", message: edited, messageId: message.id });
    }

    /** Ask for another reply in place of one, or for one to a question that has none. */
    regenerate(message) {
        const at = this.messages.indexOf(message);
        if (!this.idle || at < 0) return;
        const question = message.role === "user" ? at : at - 1;
        if (this.messages[question]?.role !== "user") return;
        this.messages.splice(question + 1);
        this.views.splice(question + 1).forEach((view) => view.element.remove());
        this.ask({ trigger: "regenerate-message", message: this.messages[question], messageId: message.id });
    }

    decided(part) {
        const decision = this.decisions.get(part.toolCallId);
        if (!decision) return null;
        return `${decision.approved ? "Approved" : "Rejected"}. It goes on when you have decided on the other calls.`;
    }

    mayAnswer(part) {
        return this.idle && this.suspended && !this.decisions.has(part.toolCallId) && this.undecided().includes(part);
    }

    undecided() {
        const message = this.messages.at(-1);
        if (message?.role !== "assistant") return [];
        return lastStep(message).filter(
            (part) => part.state === "approval-requested" || (part.toolCallId && part.state === "input-available"),
        );
    }

    decide(part, approved, reason) {
        this.settle(part, { approved, reason });
    }

    answer(part, text) {
        let output = text;
        try {
            output = JSON.parse(text);
        } catch {
            // It is text.
        }
        this.settle(part, { output });
    }

    settle(part, decision) {
        if (!this.idle) return;
        this.decisions.set(part.toolCallId, decision);
        const waiting = this.undecided();
        const message = this.messages.at(-1);
        if (waiting.some((each) => !this.decisions.has(each.toolCallId))) return this.refresh();
        for (const each of waiting) {
            const { approved, reason, output } = this.decisions.get(each.toolCallId);
            if (output !== undefined) {
                each.state = "output-available";
                each.output = output;
            } else {
                each.state = "approval-responded";
                each.approval = { ...each.approval, approved, ...(reason ? { reason } : {}) };
            }
        }
        this.decisions.clear();
        this.suspended = false;
        const parts = lastStep(message).map(({ inputText, ...rest }) => rest);
        const body = { trigger: "submit-message", message: { id: message.id, role: "assistant", parts } };
        this.ask(body, message);
        this.views.at(-1)?.element.focus();
    }

    async stop() {
        if (this.idle || this.stopping) return;
        this.stopping = true;
        const turn = this.turn;
        this.refresh();
        if (this.status === "loading") return this.abandon(turn);
        try {
            // A question that is still on its way is not known yet.
            for (let attempt = 0; turn === this.turn && !this.idle && attempt < 20; attempt += 1) {
                if (await api.stop(this.id)) break;
                await pause(250, turn.signal);
            }
            await pause(STOP_PATIENCE, turn.signal);
            this.abandon(turn);
        } catch (error) {
            if (turn !== this.turn) return;
            this.stopping = false;
            if (error instanceof api.ChatError) this.fail(error, () => this.stop());
        }
    }

    /** Read no further, and show what the server has. */
    abandon(turn) {
        if (turn !== this.turn || this.idle) return;
        this.endTurn();
        this.catchUp();
    }

    // -- a turn ------------------------------------------------------------------------------------------

    /** Send a request and read its reply; `message` is the assistant's that goes on. */
    async ask(body, message = null) {
        this.turn.abort();
        const turn = (this.turn = new AbortController());
        this.hideFailure();
        this.speaker.reset();
        this.stopping = false;
        this.suspended = false;
        this.setStatus("submitted");
        this.live = this.reply(message);
        this.refresh();
        try {
            // A reply that waited for a decision goes on with the model that began it.
            const model = message ? undefined : await this.chosen();
            if (turn !== this.turn) return;
            const response = await api.post({ id: this.id, ...body, model }, turn.signal);
            this.others.postMessage({ type: "turn", id: this.id });
            if (this.stopping) api.stop(this.id).catch(() => {});
            await this.read(response, turn, 0);
        } catch (error) {
            if (turn !== this.turn) return;
            if (error.status === 409) return await this.showOther(body, turn, error);
            if (error.status === 403) this.changed("refused");
            this.dropEmptyReply();
            this.failed(error, turn, () => this.again(body, message));
        }
    }

    /** Begin, or go on with, the assistant's message at the end. */
    reply(message) {
        if (message) return new Folding(message);
        if (this.messages.at(-1).role === "assistant") this.messages.pop(); // of an attempt before
        const question = this.messages.at(-1);
        const made = { id: `reply-${question.id}`, key: `${question.id} ${randomId()}`, role: "assistant", parts: [] };
        this.messages.push(made);
        return new Folding(made);
    }

    dropEmptyReply() {
        const last = this.messages.at(-1);
        if (last?.role === "assistant" && !last.parts.some((part) => part.type !== "step-start")) this.messages.pop();
    }

    /** Ask again what failed. What the server has of it by now decides how. */
    async again(body, message) {
        const turn = this.turn;
        this.hideFailure();
        this.setStatus("submitted");
        try {
            const chat = await api.load(this.id, turn.signal);
            if (turn !== this.turn) return;
            this.setStatus("ready");
            if (chat?.status === "streaming") return this.adopt(chat);
            const reply = chat?.messages.find((each) => each.id === `reply-${body.message.id}`);
            const kept = reply && reply.metadata?.state !== "failed";
            if (!kept || body.trigger === "regenerate-message" || body.messageId || message) {
                return await this.ask(body, message);
            }
            this.adopt(chat); // the question came through, its reply did not
            this.regenerate(reply);
        } catch (error) {
            this.failed(error, turn, () => this.again(body, message));
        }
    }

    /** The server has this chat otherwise, as another tab was quicker: show that, and give the question back. */
    async showOther(body, turn, error) {
        this.endTurn();
        const mine = body.trigger === "submit-message" && body.message.role === "user" ? body.message : null;
        try {
            const chat = await api.load(this.id, this.turn.signal);
            if (chat) this.adopt(chat);
        } catch {
            // The message below has to do.
        }
        if (mine && !this.messages.some((each) => each.id === mine.id && textOf(each) === textOf(mine))) {
            this.giveBack(textOf(mine), mine.parts.filter((part) => part.type === "file"));
        }
        this.fail(error);
    }

    async read(response, turn, attempt) {
        const folding = this.live;
        const begun = performance.now();
        try {
            for await (const part of partsOf(response.body)) {
                if (turn !== this.turn) return;
                if (this.status !== "streaming") {
                    this.setStatus("streaming");
                    this.note("");
                }
                if (part === null) continue;
                folding.apply(part);
                frames.request(this);
                if (folding.error !== null) break; // what comes behind is for others
            }
        } catch (error) {
            if (turn !== this.turn) return;
            if (!(error instanceof TypeError)) console.warn(error);
        }
        if (turn !== this.turn) return;
        if (folding.ended) return this.finish(folding);
        await this.reconnect(turn, performance.now() - begun > LONGEST_PAUSE ? 0 : attempt + 1);
    }

    finish(folding) {
        const { message } = folding;
        for (const part of message.parts) if (part.state === "streaming") part.state = "done";
        if (folding.aborted) message.metadata = { ...message.metadata, state: "partial" };
        this.dropEmptyReply();
        this.endTurn();
        this.speaker.update(textOf(message), true);
        this.suspended = folding.finishReason === "tool-calls" && this.undecided().length > 0;
        if (folding.error !== null) {
            const retry = () => this.regenerate(this.messages.at(-1)); // the question, where nothing has come
            this.fail(new api.ChatError(folding.error, "Try again. What has come of the reply stays until then."), retry);
        } else if (this.suspended) this.speaker.say("A tool call waits for your decision.");
        else if (folding.aborted) this.speaker.say("Stopped.");
        this.others.postMessage({ type: "end", id: this.id });
        this.refresh();
        this.changed("end");
    }

    endTurn() {
        this.turn.abort();
        this.turn = new AbortController();
        this.live = null;
        this.stopping = false;
        this.note("");
        this.setStatus("ready");
        this.refresh();
    }

    // -- lost connections --------------------------------------------------------------------------------

    /** Follow the reply that is being written: after a reload, and when the connection was lost. */
    async reconnect(turn, attempt) {
        if (attempt === 0 && this.status !== "streaming") this.setStatus("streaming");
        for (;;) {
            if (attempt > 0) {
                this.note("The connection was lost. Connecting again…");
                await this.pauseBefore(attempt, turn);
            }
            if (turn !== this.turn) return;
            try {
                const response = await api.follow(this.id, turn.signal);
                if (turn !== this.turn) return;
                if (response !== null) {
                    this.live = this.replay();
                    this.note("");
                    return await this.read(response, turn, attempt);
                }
                const chat = await api.load(this.id, turn.signal);
                if (turn !== this.turn) return;
                if (chat === null) {
                    this.endTurn();
                    const told = new api.ChatError("The question did not reach the server.", "Ask it again.");
                    return this.fail(told, () => this.askLastAgain());
                }
                if (chat.status !== "streaming") {
                    this.endTurn();
                    this.adopt(chat);
                    this.speaker.update(textOf(this.messages.at(-1) ?? { parts: [] }), true);
                    this.changed("end");
                    return;
                }
            } catch (error) {
                if (turn !== this.turn) return;
                if (error.status >= 400 && error.status < 500) return this.failed(error, turn, () => this.open(this.id));
            }
            attempt += 1;
        }
    }

    askLastAgain() {
        const message = this.messages.findLast((each) => each.role === "user");
        if (!message) return;
        this.messages.splice(this.messages.indexOf(message) + 1);
        this.ask({ trigger: "submit-message", message });
    }

    /** Begin the message anew that the server sends again from its start; until then the old one is shown. */
    replay() {
        let old = this.messages.at(-1);
        if (old?.role !== "assistant") {
            old = { id: `reply-${old?.id ?? ""}`, role: "assistant", parts: [], metadata: {} };
            this.messages.push(old);
        }
        const made = { ...old, metadata: {}, parts: [] };
        this.messages[this.messages.length - 1] = made;
        return new Folding(made, old.parts);
    }

    async pauseBefore(attempt, turn) {
        const longest = Math.min(LONGEST_PAUSE, 250 * 2 ** attempt);
        const online = new Promise((resolve) => {
            window.addEventListener("online", resolve, { once: true, signal: turn.signal });
        });
        await Promise.race([online, pause(longest * (0.5 + Math.random() / 2), turn.signal)]).catch(() => {});
    }

    /** Repeat what only needs a connection. */
    async patiently(get, turn) {
        for (let attempt = 1; ; attempt += 1) {
            try {
                const got = await get();
                this.note("");
                return got;
            } catch (error) {
                if (turn !== this.turn || error.status !== 0) throw error;
                this.note("The server cannot be reached. Connecting again…");
                await this.pauseBefore(attempt, turn);
                if (turn !== this.turn) throw error;
            }
        }
    }

    // -- what is shown -----------------------------------------------------------------------------------

    setStatus(status) {
        if (this.status === status) return;
        this.status = status;
        this.refresh();
        this.changed("status");
    }

    /** Show all messages again in the next frame; frames.request(this) alone shows the reply that is coming. */
    refresh() {
        this.all = true;
        frames.request(this);
    }

    paint() {
        const { messages, views } = this;
        if (!this.all && this.live && views.length === messages.length) {
            views.at(-1).update(this.live.message, true);
            this.speaker.update(textOf(this.live.message), false);
            return false;
        }
        this.all = false;
        views.splice(messages.length).forEach((view) => view.element.remove());
        messages.forEach((message, at) => {
            const key = message.key ?? message.id;
            let view = views[at];
            if (!view || view.key !== key) {
                const made = new MessageView(message, this);
                made.key = key;
                if (view) view.element.replaceWith(made.element);
                else this.places.list.append(made.element);
                views[at] = view = made;
            }
            const last = at === messages.length - 1;
            view.update(message, message === this.live?.message, last && this.idle);
        });
        this.places.list.closest("main")?.classList.toggle("empty", messages.length === 0 && this.status !== "loading");
        return false;
    }

    note(words) {
        const { notice } = this.places;
        if (notice.textContent !== words) notice.textContent = words;
        notice.hidden = words === "";
    }

    failed(error, turn, again) {
        if (turn !== this.turn) return;
        this.endTurn();
        const told = error instanceof api.ChatError ? error : new api.ChatError("The page has failed.", "Reload it.");
        if (told !== error) console.error(error);
        this.fail(told, told.again ? again : null);
    }

    fail(error, again = null) {
        const retry = again
            ? button("again", "Try again", () => (this.hideFailure(), again()), { text: true, kind: "secondary" })
            : null;
        const close = button("cross", "Close", () => this.hideFailure());
        const words = h("div", {}, h("p", { dir: "auto" }, h("strong", {}, error.message)), h("p", {}, error.advice));
        this.places.failure.replaceChildren(h("div.failure", {}, icon("alert"), words, h("div.row", {}, retry, close)));
        frames.request(this);
    }

    hideFailure() {
        this.places.failure.replaceChildren();
    }
}

function outline(messages) {
    return JSON.stringify(messages.map((each) => [each.id, each.parts.length, textOf(each).length]));
}

function pause(milliseconds, signal) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, milliseconds);
        signal.addEventListener("abort", () => {
            clearTimeout(timer);
            reject(signal.reason);
        });
    });
}
