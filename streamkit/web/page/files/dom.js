/** Elements in one call, and the icons of index.html. */

export function h(name, attributes = {}, ...children) {
    const [tag, ...classes] = name.split(".");
    const element = document.createElement(tag);
    if (classes.length) element.className = classes.join(" ");
    for (const [key, value] of Object.entries(attributes)) {
        if (value === undefined || value === null || value === false) continue;
        if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
        else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(SVG, "use");
    use.setAttribute("href", `#icon-${name}`);
    svg.append(use);
    return svg;
}

/** Return a button with an icon; its label is read out and shown as a tooltip, or beside the icon. */
export function button(iconName, label, onclick, { text = false, kind = "quiet" } = {}) {
    return h(
        `button.${kind}`,
        { type: "button", onclick, "aria-label": text ? null : label, title: text ? null : label },
        iconName ? icon(iconName) : null,
        text ? h("span", {}, label) : null,
    );
}

/** Return a random id. crypto.randomUUID exists in secure contexts only, which http: off loopback is not. */
export function randomId() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Copy text; return whether that was possible. */
export async function copyText(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        // Not a secure context, or not allowed: by the old way.
        const area = h("textarea.hidden", { "aria-hidden": "true", tabindex: "-1" });
        const focused = document.activeElement;
        area.value = text;
        document.body.append(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        focused?.focus();
        return done;
    }
}

export function copyButton(textOf, label = "Copy", options = {}) {
    const made = button("copy", label, async () => {
        const done = await copyText(textOf());
        const said = done ? "Copied" : "Not copied";
        made.replaceChildren(icon(done ? "check" : "alert"), ...(options.text ? [h("span", {}, said)] : []));
        if (!options.text) made.setAttribute("aria-label", said);
        setTimeout(() => {
            made.replaceChildren(icon("copy"), ...(options.text ? [h("span", {}, label)] : []));
            if (!options.text) made.setAttribute("aria-label", label);
        }, 1600);
    }, options);
    return made;
}
