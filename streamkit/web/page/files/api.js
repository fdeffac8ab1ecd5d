/** The routes of the chat, and what to do about their errors. */

const ROOT = new URL("api/chat", document.baseURI).href;
const MODELS = new URL("api/models", document.baseURI).href;

/** An answer of the server that is no success, or none at all. */
export class ChatError extends Error {
    constructor(message, advice, { status = 0, again = true } = {}) {
        super(message);
        this.advice = advice;
        this.status = status;
        this.again = again; // whether the same may be asked again
    }
}

export function addressOf(id, rest = "") {
    return `${ROOT}/${encodeURIComponent(id)}${rest}`;
}

/** Ask; return the response, which is a success or one of the statuses in `taken`. */
export async function ask(url, options = {}, taken = []) {
    let response;
    try {
        response = await fetch(url, { cache: "no-store", ...options });
    } catch (error) {
        if (options.signal?.aborted) throw error;
        throw new ChatError("The server cannot be reached.", "Check your connection, then try again.");
    }
    if (response.ok || taken.includes(response.status)) return response;
    throw await errorOf(response);
}

export function post(body, signal) {
    const headers = { "content-type": "application/json" };
    return ask(ROOT, { method: "POST", headers, body: JSON.stringify(body), signal });
}

export async function list() {
    const response = await ask(ROOT, {}, [404, 405]);
    if (!response.ok) return null; // not offered
    return (await response.json()).chats;
}

/** Return the models to choose from, and the one that is asked without a choice; `null` where none are offered. */
export async function models() {
    const response = await ask(MODELS, {}, [403, 404, 405]);
    return response.ok ? response.json() : null;
}

/** Return a chat, or `null` where there is none. */
export async function load(id, signal) {
    const response = await ask(addressOf(id), { signal }, [404]);
    return response.ok ? response.json() : null;
}

export function remove(id) {
    return ask(addressOf(id), { method: "DELETE" }, [404]);
}

/** Return the response that follows the reply of a chat, or `null` where none is being written. */
export async function follow(id, signal) {
    const response = await ask(addressOf(id, "/stream"), { signal }, [404]);
    return response.status === 200 ? response : null;
}

/** Stop the reply; return whether the chat is known. */
export async function stop(id) {
    return (await ask(addressOf(id, "/stop"), { method: "POST" }, [404])).ok;
}

const ADVICE = {
    400: ["", "Change your question and try again.", false],
    401: ["You are not signed in.", "Sign in, then reload this page.", false],
    403: ["This is not allowed.", "Choose another model if you can, or sign in as somebody else, then try again."],
    404: ["This chat is not there any more.", "Begin a new one.", false],
    409: ["A reply in this chat is still being written.", "Wait for its end, or stop it."],
    413: ["This is too long.", "Shorten the text, or attach fewer or smaller files.", false],
    429: ["There were too many requests.", "Wait a little, then try again."],
    503: ["The server is busy.", "Wait a little, then try again."],
};

async function errorOf(response) {
    const status = response.status;
    const [said, advice, again = true] = ADVICE[status] ?? ["", "Try again. If it goes on, tell who runs this page."];
    let message = said;
    const kind = response.headers.get("content-type") ?? "";
    if (kind.startsWith("text/plain") || (!said && !kind.includes("html"))) {
        const text = (await response.text().catch(() => "")).trim().slice(0, 500);
        if (text) message = text;
    }
    const wait = Number(response.headers.get("retry-after"));
    const told = wait > 0 && (status === 429 || status === 503) ? `Wait ${Math.ceil(wait)} s, then try again.` : advice;
    return new ChatError(message || `The server answered with status ${status}.`, told, { status, again });
}
