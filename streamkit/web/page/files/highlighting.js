/** Colours for code, found in a worker: hostile code could keep the page's own thread busy. */

import DOMPurify from "./vendor/purify.es.mjs";

const PATIENCE = 3000; // milliseconds for one block
const CLEAN = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };

let worker = null;
let last = Promise.resolve();
let failures = 0;

/** Return a fragment, or `null` where there are no colours for it. */
export function highlighted(source, language) {
    const result = last.then(() => asked(source, language));
    last = result.catch(() => {});
    return result.catch(() => null);
}

function asked(source, language) {
    if (failures >= 3) return null; // no workers here
    return new Promise((resolve) => {
        worker ??= started();
        const over = setTimeout(() => {
            worker.terminate();
            worker = null;
            resolve(null);
        }, PATIENCE);
        worker.onmessage = ({ data }) => {
            clearTimeout(over);
            failures = 0;
            resolve(data === null ? null : DOMPurify.sanitize(data, CLEAN));
        };
        worker.onerror = () => {
            clearTimeout(over);
            failures += 1;
            worker = null;
            resolve(null);
        };
        worker.postMessage({ source, language });
    });
}

function started() {
    const url = new URL("highlight_worker.js", import.meta.url).href;
    // A browser with Trusted Types takes the address of a worker from a policy only.
    policy ??= globalThis.trustedTypes?.createPolicy("streamkit-worker", { createScriptURL: () => url });
    return new Worker(policy ? policy.createScriptURL("") : url, { type: "module" });
}

let policy;
