/** What a screen reader is told of a reply: finished sentences, not each token. */

import { h } from "./dom.js";

const EACH = 1500; // milliseconds between two announcements
const LONGEST = 1000; // characters of one

const segmenter = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: "sentence" }) : null;

export class Speaker {
    /** @param region  an element with aria-live="polite" */
    constructor(region) {
        this.region = region;
        this.reset();
    }

    reset() {
        this.taken = 0;
        this.rest = "";
        this.ready = [];
        this.inCode = false;
        clearTimeout(this.timer);
        this.timer = null;
    }

    /** Tell what is new of a text that grows. */
    update(text, finished) {
        if (text.length < this.taken) this.taken = text.length;
        this.rest += text.slice(this.taken, this.taken + 10 * LONGEST);
        this.taken = text.length;
        const { ready, rest } = sentences(this.rest, finished);
        this.rest = rest;
        for (const each of ready) {
            const words = this.plain(each);
            if (words) this.ready.push(words);
        }
        if (finished) this.taken = 0;
        if (this.ready.length && this.timer === null) this.timer = setTimeout(() => this.speak(), finished ? 100 : EACH);
    }

    /** Tell an event of the page's own, such as an error, soon. */
    say(words) {
        this.ready.push(words);
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.speak(), 100);
    }

    speak() {
        this.timer = null;
        const words = this.ready.join(" ").slice(0, 4 * LONGEST);
        this.ready = [];
        if (!words) return;
        this.region.append(h("p", { dir: "auto" }, words));
        while (this.region.children.length > 5) this.region.firstChild.remove();
    }

    plain(sentence) {
        const lines = sentence.split("\n").map((line) => {
            if (/^\s*(```|~~~)/.test(line)) {
                this.inCode = !this.inCode;
                return this.inCode ? "Code." : "";
            }
            return this.inCode ? "" : plainLine(line);
        });
        return lines.join(" ").replace(/\s+/g, " ").trim();
    }
}

/** Return the finished sentences of a text, and the rest. */
export function sentences(text, finished) {
    if (finished) return { ready: text.trim() ? [text] : [], rest: "" };
    let at = text.lastIndexOf("\n") + 1;
    const last = text.slice(at);
    if (segmenter && last) {
        const parts = [...segmenter.segment(last.slice(-LONGEST * 2))];
        at = text.length - parts.at(-1).segment.length;
    }
    if (text.length - at > LONGEST) at = text.length;
    return { ready: text.slice(0, at).trim() ? [text.slice(0, at)] : [], rest: text.slice(at) };
}

function plainLine(line) {
    return line
        .replace(/^\s*(#{1,6}|>|[-*+]|\d+[.)])\s+/, "")
        .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
        .replace(/\*\*|__|~~|`/g, "")
        .replace(/^[\s|:-]+$/, "")
        .replaceAll("|", " ");
}
