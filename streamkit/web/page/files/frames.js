/** Work of the screen: once a frame, and no longer at a time than leaves the page responsive. */

const BUDGET = 10; // milliseconds of a frame

class Frames {
    constructor() {
        this.views = new Set();
        this.asked = false;
        this.after = new Set(); // called at the end of each frame that changed something
    }

    /** Have view.paint(deadline) called in the next frame; again for as long as it returns true. */
    request(view) {
        this.views.add(view);
        if (this.asked) return;
        this.asked = true;
        requestAnimationFrame(() => this.paint());
    }

    paint() {
        this.asked = false;
        const deadline = performance.now() + BUDGET;
        const views = [...this.views];
        this.views.clear();
        const more = views.filter((view) => view.paint(deadline));
        for (const each of this.after) each();
        for (const view of more) this.request(view);
    }
}

export const frames = new Frames();
