/** The page: brings the chat, the composer, the list of chats, the address and the keyboard together. */

import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { icon } from "./dom.js";
import { frames } from "./frames.js";
import { ModelPicker } from "./model_picker.js";
import { Sidebar } from "./sidebar.js";
import { Speaker } from "./speaking.js";

const NEAR = 80; // pixels from the end at which the page goes on scrolling with the reply

const find = (selector) => document.querySelector(selector);
const siteTitle = document.title;

for (const place of document.querySelectorAll("[data-icon]")) place.prepend(icon(place.dataset.icon));

const speaker = new Speaker(find("#spoken"));
const scroller = find("#scroller");
const toEnd = find("#to-end");
let follows = true;

const composer = new Composer(find("#composer"), {
    send(text, files) {
        if (!chat.idle) return false;
        follows = true;
        return chat.send(text, files);
    },
    stop: () => chat.stop(),
    tell,
});

const picker = new ModelPicker(find("#model"));

const sidebar = new Sidebar(
    { bar: find("#bar"), list: find("#chats"), toggle: find("#toggle"), veil: find("#veil") },
    {
        removed(id) {
            if (id === chat.id) begin();
        },
        tell,
    },
);

const chat = new Chat(
    { list: find("#messages"), failure: find("#failure"), notice: find("#notice") },
    speaker,
    {
        chosen: () => picker.chosen(),
        changed(what) {
            if (what === "refused") picker.reload();
            composer.setBusy(!chat.idle && chat.status !== "loading", chat.stopping);
            document.body.dataset.status = chat.status;
            if (what === "end" || what === "turn" || chat.status === "streaming") sidebar.refresh();
            document.title = chat.title ? `${chat.title} – ${siteTitle}` : siteTitle;
        },
        giveBack: (text, files) => composer.put(text, files),
        moved(id) {
            history.pushState(null, "", `#${encodeURIComponent(id)}`);
            sidebar.mark(id);
        },
    },
);

function tell(words) {
    const notice = find("#told");
    notice.textContent = words;
    notice.hidden = false;
    setTimeout(() => {
        notice.hidden = notice.textContent === words;
    }, 8000);
}

// -- the address --

function idInAddress() {
    try {
        return decodeURIComponent(location.hash.slice(1));
    } catch {
        return location.hash.slice(1);
    }
}

function begin() {
    if (location.hash) history.pushState(null, "", location.pathname + location.search);
    show("");
    composer.focus();
}

function show(id) {
    follows = true;
    if (id) chat.open(id);
    else chat.begin();
    sidebar.mark(id || null);
}

window.addEventListener("popstate", () => {
    const id = idInAddress();
    if (id !== (chat.id ?? "")) show(id);
});

for (const each of document.querySelectorAll(".new")) {
    each.addEventListener("click", () => {
        sidebar.show(false);
        begin();
    });
}

// -- scrolling --

scroller.addEventListener("scroll", () => {
    const rest = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    follows = rest < NEAR;
    toEnd.hidden = follows;
}, { passive: true });

function scrollToEnd() {
    if (follows) scroller.scrollTop = scroller.scrollHeight;
}

frames.after.add(scrollToEnd);
new ResizeObserver(scrollToEnd).observe(find("#content"));

toEnd.addEventListener("click", () => {
    follows = true;
    scrollToEnd();
    composer.focus();
});

// -- the keyboard --

document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented) return;
    if (event.key === "Escape" && !chat.idle) {
        event.preventDefault();
        chat.stop();
        composer.focus();
    }
    const letter = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "/" && letter && document.activeElement === document.body) {
        event.preventDefault();
        composer.focus();
    }
});

for (const example of document.querySelectorAll(".example")) {
    example.addEventListener("click", () => {
        chat.send(example.textContent);
        composer.focus();
    });
}

// -- signing out --

const signOut = find("#sign-out");
signOut.hidden = !signOut.dataset.to;
signOut.addEventListener("click", async () => {
    try {
        const response = await fetch(new URL(signOut.dataset.to, document.baseURI), { method: "POST" });
        if (!response.ok) throw new Error(`status ${response.status}`);
        location.assign(response.url);
    } catch {
        tell("You are not signed out. Check your connection, then try again.");
    }
});

composer.setBusy(false, false);
picker.load();
sidebar.refresh();
show(idInAddress());
if (!idInAddress()) composer.focus();
