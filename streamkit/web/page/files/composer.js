/** Where questions are written: text, files, and the button that sends or stops. */

import { button, h, icon } from "./dom.js";

const MOST_FILES = 8;
const MOST_BYTES = 8 * 1024 * 1024; // of all files: the server takes 16 MiB, and base64 is a third larger
const PICTURE = /^image\/(?:png|jpeg|gif|webp)$/;

export class Composer {
    /** @param form  of index.html */
    constructor(form, { send, stop, tell }) {
        this.form = form;
        this.stop = stop;
        this.tell = tell;
        this.text = form.querySelector("textarea");
        this.files = [];
        this.list = form.querySelector(".attached");
        this.input = form.querySelector("input[type=file]");
        this.action = form.querySelector(".action");
        this.busy = false;
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            if (this.busy) return stop();
            const text = this.text.value;
            if (!text.trim() && !this.files.length) return this.text.focus();
            if (!send(text, this.files)) return;
            this.text.value = "";
            this.files = [];
            this.showFiles();
            this.fit();
        });
        this.text.addEventListener("keydown", (event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            if (!this.busy) form.requestSubmit();
        });
        this.text.addEventListener("input", () => this.fit());
        this.text.addEventListener("paste", (event) => {
            const files = [...(event.clipboardData?.files ?? [])];
            if (files.length) {
                event.preventDefault();
                this.attach(files);
            }
        });
        form.querySelector(".attach").addEventListener("click", () => this.input.click());
        this.input.addEventListener("change", () => {
            this.attach([...this.input.files]);
            this.input.value = "";
        });
        document.addEventListener("dragover", (event) => {
            if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
        });
        document.addEventListener("drop", (event) => {
            if (!event.dataTransfer?.files.length) return;
            event.preventDefault();
            this.attach([...event.dataTransfer.files]);
        });
    }

    focus() {
        this.text.focus({ preventScroll: true });
    }

    /** Put a question back that was not taken. */
    put(text, files) {
        this.text.value = this.text.value ? `${text}\n${this.text.value}` : text;
        this.files = [...files, ...this.files];
        this.showFiles();
        this.fit();
    }

    /** Grow with the text, where the browser does not do it by itself. */
    fit() {
        if (CSS.supports("field-sizing", "content")) return;
        this.text.rows = Math.min(10, this.text.value.split("\n").length);
    }

    setBusy(busy, stopping) {
        const label = busy ? (stopping ? "Stopping" : "Stop the reply") : "Send";
        this.action.setAttribute("aria-disabled", String(stopping));
        if (this.busy === busy && this.action.getAttribute("aria-label") === label) return;
        this.busy = busy;
        this.action.setAttribute("aria-label", label);
        this.action.title = busy ? `${label} (Esc)` : "Send (Enter)";
        this.action.classList.toggle("stop", busy);
        this.action.replaceChildren(icon(busy ? "stop" : "send"));
    }

    async attach(files) {
        for (const file of files) {
            const bytes = this.files.reduce((sum, each) => sum + each.url.length * 0.75, file.size);
            if (this.files.length >= MOST_FILES || bytes > MOST_BYTES) {
                this.tell(`${file.name} is not attached: there may be ${MOST_FILES} files with 8 MB in all.`);
                break;
            }
            try {
                const url = await dataUrl(file);
                this.files.push({ type: "file", mediaType: file.type || "text/plain", filename: file.name, url });
            } catch {
                this.tell(`${file.name} cannot be read.`);
            }
        }
        this.showFiles();
    }

    showFiles() {
        this.list.hidden = this.files.length === 0;
        this.list.replaceChildren(
            ...this.files.map((file) => {
                const drop = button("cross", `Remove ${file.filename}`, () => {
                    this.files = this.files.filter((each) => each !== file);
                    this.showFiles();
                    this.focus();
                });
                const picture = PICTURE.test(file.mediaType);
                return h("li", {}, picture ? h("img", { src: file.url, alt: "" }) : icon("file"),
                    h("span", { dir: "auto" }, file.filename), drop);
            }),
        );
    }
}

function dataUrl(file) {
    return new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => {
            const url = String(reader.result);
            // Without a type of its own it would be "data:application/octet-stream".
            resolve(file.type ? url : url.replace(/^data:[^;,]*/, "data:text/plain"));
        };
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(file);
    });
}
