/** Which model is asked next, where the server offers more than one. */

import * as api from "./api.js";
import { h } from "./dom.js";

// Of this page: another one of the same site may offer others.
const KEY = `streamkit model ${new URL(".", document.baseURI).pathname}`;

export class ModelPicker {
    /** @param select  of index.html; it stays hidden where the server does not offer two models or more */
    constructor(select) {
        this.select = select;
        this.loading = null;
        select.addEventListener("change", () => keep(select.value));
    }

    /** Return the model to ask; `undefined` where the server chooses. */
    async chosen() {
        await this.load();
        return this.select.hidden ? undefined : this.select.value;
    }

    load() {
        if (!this.select.dataset.offered) return Promise.resolve();
        this.loading ??= this.offer();
        return this.loading;
    }

    /** Ask the server anew: it has refused a model. */
    reload() {
        this.loading = null;
        return this.load();
    }

    async offer() {
        try {
            const { models, default: first } = (await api.models()) ?? { models: [], default: "" };
            const wanted = [this.select.value, kept(), first].find((name) => models.includes(name));
            this.select.replaceChildren(...models.map((name) => h("option", { value: name }, name)));
            if (wanted !== undefined) this.select.value = wanted;
            this.select.hidden = models.length < 2;
        } catch {
            this.loading = null; // the next question asks once more
        }
    }
}

// Storage throws where a person has forbidden it. Then a choice is kept until the page is closed.
function kept() {
    try {
        return localStorage.getItem(KEY);
    } catch {
        return null;
    }
}

function keep(name) {
    try {
        localStorage.setItem(KEY, name);
    } catch {
        // It is in the page.
    }
}
