/**
 * The parts of a UI message stream, folded into a message as the AI SDK has it.
 *
 * Two fields are the page's own: `inputText` of a tool's part, its arguments as they grow, and `id` of a text's part.
 */

export function toolName(part) {
    if (part.type === "dynamic-tool") return String(part.toolName ?? "tool");
    return part.type.startsWith("tool-") ? part.type.slice(5) : null;
}

/** Whether a call waits for the person: to be approved, or for a result. */
export function waits(part) {
    return part.state === "approval-requested";
}

export function textOf(message) {
    const texts = message.parts.filter((part) => part.type === "text");
    return texts.map((part) => part.text).join("\n\n");
}

/** Return the parts of the last step alone: what a decision has to be sent with. */
export function lastStep(message) {
    const at = message.parts.findLastIndex((part) => part.type === "step-start");
    return message.parts.slice(at + 1);
}

/** Return metadata with what is new of them; objects in them are merged as well, lists are replaced. */
function merged(old, added) {
    if (!isObject(old) || !isObject(added)) return added;
    const result = { ...old };
    for (const [name, value] of Object.entries(added)) {
        if (name !== "__proto__") result[name] = merged(result[name], value);
    }
    return result;
}

function isObject(value) {
    return value !== null && typeof value === "object" && !Array.isArray(value);
}

export class Folding {
    /**
     * @param message  to go on with, whose parts are changed in place
     * @param earlier  parts that a replay goes on behind, where it begins with what became of their calls
     */
    constructor(message, earlier = []) {
        this.message = message;
        this.earlier = earlier;
        this.open = new Map(); // "text 0" to the part
        this.ended = false; // by finish, abort or error
        this.error = null;
        this.aborted = false;
        this.finishReason = null;
    }

    apply(part) {
        const type = part.type;
        if (type === "text-delta" || type === "reasoning-delta") return this.piece(type.slice(0, -6), part);
        if (type.startsWith("tool-")) return this.tool(part);
        if (type.startsWith("data-")) return this.data(part);
        HANDLED.get(type)?.call(this, part); // others are of a later version, or not for this page
    }

    start(part) {
        if (typeof part.messageId === "string") this.message.id = part.messageId;
        this.metadata(part);
    }

    metadata(part) {
        const added = part.messageMetadata;
        if (isObject(added)) this.message.metadata = merged(this.message.metadata ?? {}, added);
    }

    startStep() {
        this.message.parts.push({ type: "step-start" });
    }

    resetStep() {
        const parts = this.message.parts;
        const at = parts.findLastIndex((part) => part.type === "step-start");
        parts.length = at + 1;
        this.open.clear();
    }

    finish(part) {
        this.metadata(part);
        this.finishReason = part.finishReason ?? null;
        this.ended = true;
    }

    abort() {
        this.aborted = this.ended = true;
    }

    fail(part) {
        if (this.error === null) this.error = String(part.errorText || "The reply failed.");
        this.ended = true;
    }

    // -- text --

    beginText(part) {
        this.begin("text", part);
    }

    beginReasoning(part) {
        this.begin("reasoning", part);
    }

    begin(kind, part) {
        const made = { type: kind, text: "", state: "streaming" };
        if (part.providerMetadata) made.providerMetadata = part.providerMetadata;
        this.open.set(`${kind} ${part.id}`, made);
        this.message.parts.push(made);
        return made;
    }

    piece(kind, part) {
        if (typeof part.delta !== "string") return;
        const open = this.open.get(`${kind} ${part.id}`) ?? this.begin(kind, part);
        open.text += part.delta;
        if (part.providerMetadata) open.providerMetadata = part.providerMetadata;
    }

    endText(part) {
        this.close("text", part);
    }

    endReasoning(part) {
        this.close("reasoning", part);
    }

    close(kind, part) {
        const open = this.open.get(`${kind} ${part.id}`);
        if (open) {
            open.state = "done";
            if (part.providerMetadata) open.providerMetadata = part.providerMetadata;
        }
        this.open.delete(`${kind} ${part.id}`);
    }

    // -- tools --

    tool(part) {
        const id = part.toolCallId;
        let found = this.message.parts.findLast((each) => each.toolCallId === id);
        if (!found && this.message.parts.length === 0 && this.earlier.some((each) => each.toolCallId === id)) {
            // A replay of what came after a decision: the message began with what asked for it.
            this.message.parts.push(...this.earlier);
            found = this.message.parts.findLast((each) => each.toolCallId === id);
        }
        if (part.type === "tool-approval-response") {
            found = this.message.parts.findLast((each) => each.approval?.id === part.approvalId);
            if (found) {
                found.approval = { ...found.approval, approved: part.approved };
                if (part.reason) found.approval.reason = part.reason;
                found.state = "approval-responded";
            }
            return;
        }
        if (!found) {
            if (!part.type.startsWith("tool-input-")) return;
            const name = String(part.toolName ?? "tool");
            found = part.dynamic ? { type: "dynamic-tool", toolName: name } : { type: `tool-${name}` };
            found.toolCallId = id;
            if (part.title) found.title = part.title;
            this.message.parts.push(found);
        }
        switch (part.type) {
            case "tool-input-start":
                found.state = "input-streaming";
                found.inputText = "";
                break;
            case "tool-input-delta":
                found.inputText = (found.inputText ?? "") + (part.inputTextDelta ?? "");
                break;
            case "tool-input-available":
                found.state = "input-available";
                found.input = part.input;
                break;
            case "tool-input-error":
                found.state = "output-error";
                found.input = part.input;
                found.errorText = String(part.errorText ?? "");
                break;
            case "tool-approval-request":
                found.state = "approval-requested";
                found.approval = { id: part.approvalId };
                break;
            case "tool-output-available":
                found.state = "output-available";
                found.output = part.output;
                if (part.preliminary) found.preliminary = true;
                else delete found.preliminary;
                break;
            case "tool-output-error":
                found.state = "output-error";
                found.errorText = String(part.errorText ?? "");
                break;
            case "tool-output-denied":
                found.state = "output-denied";
                break;
        }
    }

    // -- the rest --

    add(part) {
        this.message.parts.push({ ...part });
    }

    data(part) {
        if (part.transient) return;
        const same = part.id && this.message.parts.find((each) => each.type === part.type && each.id === part.id);
        if (same) same.data = part.data;
        else this.message.parts.push({ ...part });
    }
}

const HANDLED = new Map([
    ["start", Folding.prototype.start],
    ["message-metadata", Folding.prototype.metadata],
    ["start-step", Folding.prototype.startStep],
    ["reset-step", Folding.prototype.resetStep],
    ["finish", Folding.prototype.finish],
    ["abort", Folding.prototype.abort],
    ["error", Folding.prototype.fail],
    ["text-start", Folding.prototype.beginText],
    ["text-end", Folding.prototype.endText],
    ["reasoning-start", Folding.prototype.beginReasoning],
    ["reasoning-end", Folding.prototype.endReasoning],
    ["source-url", Folding.prototype.add],
    ["source-document", Folding.prototype.add],
    ["file", Folding.prototype.add],
    ["custom", Folding.prototype.add],
    ["reasoning-file", Folding.prototype.add],
]);
