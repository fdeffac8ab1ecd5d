/**
 * Server-sent events from bytes, in pieces of any size.
 *
 * fetch() and this, not an EventSource: a question is a POST, and an EventSource connects again by itself.
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.5 and 9.2.6, read 2026-11-27.
 */

const LONGEST_LINE = 32 * 1024 * 1024; // characters

export class EventReader {
    constructor() {
        this.decoder = new TextDecoder(); // keeps half a character until the rest comes, and drops a byte order mark
        this.pieces = []; // of a line whose end has not come
        this.length = 0;
        this.data = []; // lines of the event whose end has not come
        this.afterReturn = false; // a line feed after it belongs to the same line end
    }

    /** Return the data of each event that these bytes complete. Comments, names and ids are passed over. */
    push(bytes) {
        const text = this.decoder.decode(bytes, { stream: true });
        const events = [];
        let from = 0;
        if (this.afterReturn && text) {
            if (text[0] === "\n") from = 1;
            this.afterReturn = false;
        }
        const ends = /\r\n|\r|\n/g;
        ends.lastIndex = from;
        for (let end = ends.exec(text); end; end = ends.exec(text)) {
            this.afterReturn = end[0] === "\r" && ends.lastIndex === text.length;
            this.pieces.push(text.slice(from, end.index));
            from = ends.lastIndex;
            const line = this.pieces.length === 1 ? this.pieces[0] : this.pieces.join("");
            this.pieces = [];
            this.length = 0;
            this.take(line, events);
        }
        if (from < text.length) {
            this.length += text.length - from;
            if (this.length > LONGEST_LINE) throw new Error("a line of the stream is too long");
            this.pieces.push(text.slice(from));
        }
        return events;
    }

    take(line, events) {
        if (line === "") {
            const data = this.data.join("\n");
            if (this.data.length && data !== "") events.push(data);
            this.data = [];
            return;
        }
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        if (name !== "data") return;
        const value = colon < 0 ? "" : line.slice(colon + 1);
        this.data.push(value[0] === " " ? value.slice(1) : value);
    }
}

/** Iterate the parts of a UI message stream; `null` for its `[DONE]`. Data that are no object are passed over. */
export async function* partsOf(body) {
    const reader = body.getReader();
    const events = new EventReader();
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            for (const data of events.push(value)) {
                const part = partOf(data);
                if (part !== undefined) yield part;
            }
        }
    } finally {
        reader.cancel().catch(() => {}); // where the loop was left early
    }
}

function partOf(data) {
    if (data === "[DONE]") return null;
    try {
        const part = JSON.parse(data);
        return part !== null && typeof part === "object" && typeof part.type === "string" ? part : undefined;
    } catch {
        return undefined;
    }
}
