/**
 * Markdown cut into blocks while it arrives, so that only the unfinished block is rendered again.
 *
 * push() and end() return what has become final, in order:
 *   {type: "markdown", text, goesOn}  a block; whether it is the rest of the one before
 *   {type: "code", language}          a fenced block begins
 *   {type: "line", text}              text of it, whole lines or a piece of one
 *   {type: "end"}                     of the fenced block
 * `tail` is the text of the block that is still open; "" inside a fenced block.
 *
 * A cut is wrong at worst where CommonMark looks far ahead (a reference that is defined later), and then costs a link.
 */

export const MOST = 4000; // characters of a block: what is rendered again with each frame, and in one go

const BLANK = /^[ \t]*$/;
const FENCE = /^( *)(`{3,}|~{3,})([^\n]*)$/;
const ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)/;
const HEADING = /^ {0,3}#{1,6}(?:[ \t]|$)/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

export class Blocks {
    constructor(most = MOST) {
        this.most = most;
        this.lines = ""; // of the open block, whole ones
        this.line = ""; // the last one, without its end
        this.count = 0; // of whole lines
        this.kind = ""; // of the open block: "", "text", "list", "indented", "heading", "table", "code"
        this.blank = false; // the last whole line was blank
        this.fence = null; // {mark, size, indent} of the open fence
        this.nested = null; // of one inside a list
        this.header = ""; // of the open table
        this.goesOn = false; // the open block is the rest of one that was too long
        this.within = false; // the beginning of the last line of code was handed on
        this.found = [];
    }

    get tail() {
        if (this.kind === "code") return "";
        // Whether it begins a fenced block is known with its end.
        return /^ {0,3}(?:`{1,3}|~{1,3})[^`]*$/.test(this.line) && !this.nested ? this.lines : this.lines + this.line;
    }

    push(text) {
        let from = 0;
        for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
            let line = this.line + text.slice(from, end);
            if (line.endsWith("\r")) line = line.slice(0, -1);
            this.line = "";
            from = end + 1;
            this.take(line);
        }
        this.line += text.slice(from);
        if (this.kind === "code") this.sendLine();
        else this.cutLine();
        return this.handOver();
    }

    end() {
        if (this.line) {
            const line = this.line;
            this.line = "";
            this.take(line);
        }
        if (this.kind === "code") this.found.push({ type: "end" });
        this.kind = this.kind === "code" ? "" : this.kind;
        this.finish();
        return this.handOver();
    }

    handOver() {
        const found = this.found;
        this.found = [];
        return found;
    }

    // -- lines --

    take(line) {
        if (this.kind === "code") return this.takeCode(line);
        if (this.nested) {
            if (closes(line, this.nested, Infinity)) this.nested = null;
            return this.add(line);
        }
        if (BLANK.test(line)) {
            if (this.kind === "heading") this.finish();
            if (this.kind) {
                this.blank = true;
                this.lines += "\n";
            }
            return;
        }
        const indent = indentOf(line);
        const fence = FENCE.exec(line);
        const opens = fence !== null && !(fence[2][0] === "`" && fence[3].includes("`"));
        if (this.kind === "list") {
            const inside = indent >= 2 || (ITEM.test(line) && !HEADING.test(line));
            if (inside || !(this.blank || opens || HEADING.test(line))) {
                if (opens && inside) this.nested = { mark: fence[2][0], size: fence[2].length };
                return this.add(line, indent < 2 && ITEM.test(line));
            }
            this.finish();
        } else if (this.kind && (this.blank || HEADING.test(line) || this.kind === "heading" || (opens && indent < 4))) {
            if (!(this.kind === "indented" && indent >= 4)) this.finish();
        }
        if (opens && indent < 4) {
            this.finish();
            this.kind = "code";
            this.fence = { mark: fence[2][0], size: fence[2].length, indent };
            this.within = false;
            this.found.push({ type: "code", language: fence[3].trim().split(/\s/)[0] ?? "" });
            return;
        }
        if (!this.kind) {
            this.kind = HEADING.test(line) ? "heading" : ITEM.test(line) ? "list" : indent >= 4 ? "indented" : "text";
        }
        this.add(line);
        if (this.kind === "text" && this.count === 2 && line.includes("-") && TABLE_RULE.test(line)) {
            if (this.lines.slice(0, this.lines.indexOf("\n")).includes("|")) {
                this.kind = "table";
                this.header = this.lines;
            }
        }
    }

    /** Add a line to the open block; a block that is too long is cut before it. */
    add(line, cutsWell = true) {
        // Items and cells are elements, which cost more than their text.
        const most = this.kind === "list" || this.kind === "table" ? this.most / 2 : this.most;
        const long = this.lines.length + line.length > most;
        if (this.lines && long && (cutsWell || this.lines.length > 2 * most)) {
            const { kind, nested, header } = this;
            this.finish();
            this.goesOn = true;
            this.kind = kind;
            this.nested = nested;
            if (kind === "table" && header.length < this.most / 4) {
                this.lines = this.header = header;
                this.count = 2;
            }
        }
        this.lines += line + "\n";
        this.count += 1;
        this.blank = false;
    }

    finish() {
        if (this.lines.trim()) this.found.push({ type: "markdown", text: this.lines, goesOn: this.goesOn });
        this.goesOn = false;
        this.lines = "";
        this.count = 0;
        this.kind = "";
        this.blank = false;
        this.nested = null;
        this.header = "";
    }

    /** Cut a line that has no end. */
    cutLine() {
        const most = this.most / 2;
        while (this.line.length > 2 * most) {
            let at = this.line.lastIndexOf(" ", most);
            if (at < most / 2) at = most;
            if (isLow(this.line.charCodeAt(at))) at -= 1;
            if (this.lines) this.finish();
            this.found.push({ type: "markdown", text: this.line.slice(0, at), goesOn: this.goesOn });
            this.goesOn = true;
            this.line = this.line.slice(at);
        }
    }

    // -- code --

    takeCode(line) {
        if (!this.within && closes(line, this.fence, 4)) {
            this.found.push({ type: "end" });
            this.kind = "";
            this.fence = null;
            return;
        }
        this.found.push({ type: "line", text: (this.within ? line : this.unindented(line)) + "\n" });
        this.within = false;
    }

    /** Hand on what has come of the last line, unless it may be the end of the block. */
    sendLine() {
        const line = this.line;
        if (!this.within && /^[ \t]*[`~]*[ \t\r]*$/.test(line)) return;
        const until = line.endsWith("\r") || isHigh(line.charCodeAt(line.length - 1)) ? line.length - 1 : line.length;
        if (until <= 0) return;
        const text = line.slice(0, until);
        this.found.push({ type: "line", text: this.within ? text : this.unindented(text) });
        this.line = line.slice(until);
        this.within = true;
    }

    unindented(line) {
        return this.fence.indent ? line.replace(new RegExp(`^ {0,${this.fence.indent}}`), "") : line;
    }
}

function closes(line, fence, indent) {
    const found = /^( *)(`{3,}|~{3,})[ \t]*$/.exec(line);
    return found !== null && found[1].length < indent && found[2][0] === fence.mark && found[2].length >= fence.size;
}

function indentOf(line) {
    const spaces = /^[ \t]*/.exec(line)[0];
    return spaces.includes("\t") ? 4 : spaces.length;
}

function isLow(code) {
    return code >= 0xdc00 && code < 0xe000;
}

function isHigh(code) {
    return code >= 0xd800 && code < 0xdc00;
}

/** Return the open block with what is half written closed, so that marks do not flicker: `**bold` and a link's address. */
export function mended(text) {
    const at = text.lastIndexOf("\n\n") + 1;
    let last = text.slice(at);
    if (last.length > 4000) return text;
    last = last.replace(/!?\[([^\]\n]*)\]\([^)\n]*$/, "$1").replace(/!?\[([^\]\n]{0,200})$/, "$1");
    const plain = last.replace(/`[^`\n]+`/g, "");
    if ((plain.match(/`/g) ?? []).length % 2 === 1 && !/`{2}/.test(plain)) return text.slice(0, at) + last + "`";
    const bold = (plain.match(/\*\*/g) ?? []).length;
    if (bold % 2 === 1) last = /\*\*\s*$/.test(last) ? last.replace(/\*\*\s*$/, "") : last.replace(/[ *]+$/, "") + "**";
    return text.slice(0, at) + last;
}
