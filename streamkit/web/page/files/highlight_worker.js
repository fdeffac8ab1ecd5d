/** Runs highlight.js apart from the page; answers with HTML of spans, or null. */

import hljs from "./vendor/highlight.min.mjs";

self.onmessage = ({ data: { source, language } }) => {
    let html = null;
    try {
        if (hljs.getLanguage(language)) html = hljs.highlight(source, { language, ignoreIllegals: true }).value;
    } catch {
        // The code stays without colours.
    }
    self.postMessage(html);
};
