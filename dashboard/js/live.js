// Keeps what is on screen fresh: asks again a moment after each answer, waits while the page is hidden or
// nobody is signed in, goes on after failures.

import { h, show } from "./dom.js";
import { callout } from "./parts.js";

const PAUSE_MS = 1500;
const LOST_PAUSE_MS = 2000;

function visibleAgain(signal) {
	return new Promise((resolve) => {
		document.addEventListener("visibilitychange", resolve, { once: true, signal });
		signal.addEventListener("abort", resolve, { once: true });
	});
}

function pause(ms, signal, waker) {
	return new Promise((resolve) => {
		const timer = setTimeout(resolve, ms);
		waker.wake = () => { clearTimeout(timer); resolve(); };
		signal.addEventListener("abort", waker.wake, { once: true });
	});
}

async function once(load, onProblem) {
	try {
		await load();
		return PAUSE_MS;
	} catch (problem) {
		if (problem.name === "AbortError") return PAUSE_MS;
		if (problem.code !== "lost") onProblem(problem);
		return LOST_PAUSE_MS;
	}
}

// Calls LOAD now and again until SIGNAL aborts. ONPROBLEM gets what went wrong, but for a lost server, of
// which the banner tells. Returns a function that asks at once, after a change for example.
export function live(load, signal, onProblem) {
	const waker = { wake: () => {} };
	(async () => {
		while (!signal.aborted) {
			const began = performance.now();
			let wait = await once(load, onProblem);
			// A server that takes long to answer is asked less often.
			wait = Math.min(10000, Math.max(wait, 2 * (performance.now() - began)));
			if (!signal.aborted) await pause(wait, signal, waker);
			while (document.hidden && !signal.aborted) await visibleAgain(signal);
		}
	})();
	return () => waker.wake();
}

// Appends to ROOT a place that shows what LOAD resolves to, kept fresh. MISSING is said where there is nothing by
// this name. Returns the function that asks at once.
export function liveView(root, signal, load, missing) {
	const body = root.appendChild(h("div", { class: "stack", "aria-busy": "true" }));
	const put = (...content) => {
		show(body, content);
		body.removeAttribute("aria-busy");
	};
	return live(async () => put(await load()), signal, (problem) => put(callout("bad", problem.status === 404 && missing ? missing : problem.message)));
}
