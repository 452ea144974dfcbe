// Retry of all deliveries that filters choose: first how many they are, then how far it got.
import { h } from "./dom.js";
import { post } from "./api.js";
import { cancelButton, openDialog } from "./dialog.js";
import { choice } from "./filters.js";
import { count, plural } from "./parts.js";
import { targetName } from "./known.js";
import { absolute } from "./time.js";

const STEP = 250;

function describe(query, known) {
	const parts = [];
	if (query.event) parts.push(`of event ${query.event}`);
	if (query.webhook) parts.push(`to ${targetName(query.webhook, known)}`);
	if (query.since) parts.push(`since ${absolute(query.since)}`);
	if (query.until) parts.push(`until ${absolute(query.until)}`);
	return parts.join(", ") || "of all events, to all targets, at any time";
}

async function run(body, total, bar, text, dialog) {
	let done = 0;
	let cursor;
	do {
		const step = await post("deliveries/retry", { ...body, limit: STEP, cursor });
		done += step.retried;
		cursor = step.has_more ? step.next_cursor : undefined;
		bar.max = Math.max(total, done);
		bar.value = done;
		text.textContent = `${count(done)} of ${count(Math.max(total, done))} begin anew …`;
	} while (cursor && dialog.open);
	return done;
}

// QUERY is that of the list; KNOWN names webhooks. DONE is called after the last step.
export function bulkRetry(query, known, done) {
	const { event, webhook, since, until } = query;
	// What comes while one looks at the count is not meant.
	const body = { event, webhook, since, until: until ?? new Date().toISOString(), status: query.status === "canceled" ? "canceled" : "failed" };
	let total = 0;
	const status = choice("status", "Deliveries that", [["failed", "failed for good"], ["canceled", "were canceled"]], body.status);
	const text = h("p", { class: "big", role: "status" }, "Counting …");
	const bar = h("progress", { hidden: true, "aria-label": "Progress" });
	const go = h("button", { type: "button", disabled: true, onclick: () => start() }, "Retry");
	const cancel = cancelButton();
	const dialog = openDialog("Retry many", h("div", {}, status, h("p", { class: "muted" }, describe({ event, webhook, since, until }, known)), text, bar), [cancel, go], { onClose: done });

	async function preview() {
		go.disabled = true;
		body.status = status.querySelector("select").value;
		try {
			total = (await post("deliveries/retry", { ...body, preview: true })).matched;
			text.textContent = total ? `${plural(total, "delivery begins", "deliveries begin")} anew.` : "None: there is nothing to retry.";
			go.textContent = total ? `Retry ${count(total)}` : "Retry";
			go.disabled = total === 0;
		} catch (problem) {
			text.textContent = problem.message;
		}
	}

	async function start() {
		go.hidden = true;
		bar.hidden = false;
		status.querySelector("select").disabled = true;
		cancel.textContent = "Stop";
		try {
			text.textContent = `Done: ${plural(await run(body, total, bar, text, dialog), "delivery begins", "deliveries begin")} anew.`;
		} catch (problem) {
			text.textContent = `It stopped: ${problem.message}`;
		}
		cancel.textContent = "Close";
		cancel.focus();
	}

	status.querySelector("select").onchange = preview;
	preview();
}
