// Short messages at the foot of the page: what was done, or why it was not.
import { h, visible } from "./dom.js";

const STAY_MS = 6000;

// KIND "ok" or "bad".
export function notify(text, kind = "ok") {
	const notice = h("div", { class: `notice ${kind}` }, h("span", {}, visible(text)),
		h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => notice.remove() }, "✕"));
	document.getElementById("notices").append(notice);
	setTimeout(() => notice.remove(), kind === "bad" ? 2 * STAY_MS : STAY_MS);
}

// Does WORK; says what went wrong, and returns undefined then.
export async function attempt(work, done) {
	try {
		const result = await work();
		if (done) notify(typeof done === "function" ? done(result) : done);
		return result ?? true;
	} catch (problem) {
		if (problem.name !== "AbortError") notify(problem.message, "bad");
		return undefined;
	}
}
