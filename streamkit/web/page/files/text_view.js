/** A text of Markdown that grows. Finished blocks are rendered once; the open one with each frame. */

import { Blocks, mended } from "./blocks.js";
import { codeView } from "./code_view.js";
import { h } from "./dom.js";
import { frames } from "./frames.js";
import { context, render } from "./markdown.js";

// A section that is not on the screen costs nothing when something changes, however many blocks it has.
const MOST_OF_A_SECTION = 8000; // characters
const MOST_TOGETHER = 1500; // characters of blocks that are rendered in one go

export class TextView {
    constructor() {
        this.element = h("div.text");
        this.reset();
    }

    reset() {
        this.source = "";
        this.finished = false;
        this.blocks = new Blocks();
        this.queue = [];
        this.shared = context();
        this.section = null;
        this.filled = 0; // characters of the last section
        this.open = h("div.block"); // of the block that is not finished
        this.code = null; // the open block of code
        this.shown = ""; // the tail that `open` shows
        this.notBefore = 0; // when the tail is rendered again, where that is slow
        this.element.replaceChildren();
    }

    /** Show a text, of which what was given before is the beginning, or which is the beginning of that. */
    update(text, finished) {
        if (text.length === this.source.length && finished === this.finished) return;
        if (text.length < this.source.length || this.finished) {
            if (!finished && this.source.startsWith(text)) return; // a replay that has not come so far
            if (text !== this.source) this.reset();
        }
        this.append(text.slice(this.source.length), text, finished);
    }

    /** The same where the text may be another one. */
    replace(text, finished) {
        if (!text.startsWith(this.source) && !this.source.startsWith(text)) this.reset();
        this.update(text, finished);
    }

    append(added, text, finished) {
        this.source = text;
        for (const each of this.blocks.push(added)) this.queue.push(each);
        if (finished && !this.finished) {
            this.finished = true;
            for (const each of this.blocks.end()) this.queue.push(each);
        }
        frames.request(this);
    }

    /** Render what has come; return whether there is more to do. */
    paint(deadline) {
        let at = 0;
        while (at < this.queue.length) {
            const block = this.queue[at];
            at += 1;
            if (block.type === "markdown") {
                // Short blocks that came together are rendered together: each call of the sanitiser costs a millisecond.
                let text = block.text;
                for (let next = this.queue[at]; next?.type === "markdown"; next = this.queue[at]) {
                    if (next.goesOn || text.length + next.text.length > MOST_TOGETHER) break;
                    text += next.text;
                    at += 1;
                }
                this.take({ ...block, text });
            } else this.take(block);
            if (performance.now() > deadline) break;
        }
        this.queue.splice(0, at);
        if (this.queue.length) return true;
        return this.paintTail();
    }

    take(block) {
        switch (block.type) {
            case "markdown":
                this.closeTail();
                this.add(h(block.goesOn ? "div.block.rest" : "div.block", {}, render(block.text, this.shared)));
                this.filled += block.text.length;
                break;
            case "code":
                this.closeTail();
                this.code = codeView(block.language);
                this.add(h("div.block", {}, this.code.element));
                break;
            case "line":
                this.code.add(block.text);
                this.filled += block.text.length;
                break;
            case "end":
                this.code.end();
                this.code = null;
                break;
        }
    }

    /** Append a block to the last section. */
    add(block) {
        if (this.section === null || this.filled > MOST_OF_A_SECTION) {
            this.section = h("div.section");
            this.filled = 0;
            this.element.append(this.section);
        }
        this.section.append(block);
    }

    closeTail() {
        this.open.remove();
        this.shown = "";
    }

    paintTail() {
        const tail = this.finished ? "" : this.blocks.tail;
        if (tail === this.shown) return false;
        const before = performance.now();
        if (before < this.notBefore) return true;
        this.shown = tail;
        const level = this.shared.level;
        this.open.replaceChildren(render(mended(tail), this.shared));
        this.shared.level = level; // the block is rendered again
        if (!this.open.isConnected) this.add(this.open);
        const took = performance.now() - before;
        if (took > 8) this.notBefore = performance.now() + 6 * took;
        return false;
    }
}
