/** Earlier chats, where the server offers them. */

import * as api from "./api.js";
import { button, h } from "./dom.js";

export class Sidebar {
    constructor({ bar, list, toggle, veil }, { open, removed, tell }) {
        Object.assign(this, { bar, list, toggle, veil, open, removed, tell });
        this.current = null;
        this.chats = [];
        toggle.addEventListener("click", () => this.show(!this.shown));
        veil.addEventListener("click", () => this.show(false));
        bar.addEventListener("keydown", (event) => {
            if (event.key === "Escape" && this.shown) {
                event.stopPropagation();
                this.show(false);
                toggle.focus();
            }
        });
    }

    get shown() {
        return document.body.classList.contains("with-bar");
    }

    /** Show or hide it, where it lies over the page. */
    show(shown) {
        document.body.classList.toggle("with-bar", shown);
        this.toggle.setAttribute("aria-expanded", String(shown));
        if (shown) this.bar.querySelector("a, button")?.focus();
    }

    async refresh() {
        try {
            const chats = await api.list();
            document.body.classList.toggle("with-chats", chats !== null);
            if (chats === null) return;
            this.chats = chats;
            this.paint();
        } catch {
            // It stays as it was: the chat itself tells of a lost connection.
        }
    }

    mark(id) {
        this.current = id;
        this.paint();
    }

    paint() {
        this.list.replaceChildren(
            ...this.chats.map((chat) => {
                const title = chat.title || "Untitled";
                const here = chat.id === this.current;
                const link = h(
                    "a",
                    { href: `#${encodeURIComponent(chat.id)}`, dir: "auto", title, "aria-current": here ? "page" : null },
                    title,
                );
                link.addEventListener("click", () => this.show(false));
                return h("li", {}, link, button("trash", `Delete ${title}`, (event) => this.askToRemove(event, chat)));
            }),
        );
        this.list.parentElement.querySelector(".none").hidden = this.chats.length > 0;
    }

    askToRemove(event, chat) {
        const item = event.currentTarget.closest("li");
        const yes = button("", "Delete", () => this.remove(chat), { text: true, kind: "danger" });
        const no = button("", "Keep", () => {
            this.paint();
            this.list.querySelector("a")?.focus();
        }, { text: true, kind: "secondary" });
        item.replaceChildren(h("div.sure", { role: "group", "aria-label": `Delete ${chat.title}?` }, "Delete?", yes, no));
        no.focus();
    }

    async remove(chat) {
        try {
            await api.remove(chat.id);
            this.chats = this.chats.filter((each) => each !== chat);
            this.removed(chat.id);
        } catch (error) {
            this.tell(`It was not deleted. ${error.message}`);
        }
        this.paint();
        (this.list.querySelector("a") ?? this.bar.querySelector("button, a"))?.focus();
    }
}
