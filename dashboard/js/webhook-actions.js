// What can be done to a webhook: activate, rotate its secret, recover what it missed, delete it.
import { h } from "./dom.js";
import { patch, post, remove, segment, get } from "./api.js";
import { cancelButton, formDialog, openDialog } from "./dialog.js";
import { choice } from "./filters.js";
import { attempt, notify } from "./notice.js";
import { count, plural } from "./parts.js";
import { forgetWebhooks, shortUrl } from "./known.js";
import { readSecret, secretFields } from "./webhook-form.js";
import { showSecret } from "./secret.js";
import { absolute, fromLocalInput, toLocalInput } from "./time.js";

const path = (webhook) => `webhooks/${segment(webhook.id)}`;

export async function activate(webhook, done) {
	const active = !webhook.active;
	if (await attempt(() => patch(path(webhook), { active }), active ? "Active: it gets events again." : "Inactive: it gets no new events.")) done();
}

const OVERLAPS = [["86400", "24 hours"], ["3600", "1 hour"], ["604800", "7 days"], ["0", "none: the old secret ends now"]];

export function rotateDialog(webhook, done) {
	formDialog("Rotate secret", [
		h("p", {}, "A new secret signs from now on. Until the overlap is over the old one signs as well, so that no call is refused while the receiver changes over."),
		choice("overlap_seconds", "Overlap", OVERLAPS, "86400"), secretFields(),
	], { submit: "Rotate", work: async (form, dialog) => {
		const answer = await post(`${path(webhook)}/rotate-secret`, { secret: readSecret(form), overlap_seconds: Number(form.elements.overlap_seconds.value) });
		dialog.close();
		done();
		showSecret("Secret rotated", answer, `Give it to the receiver. The old one signs until ${absolute(answer.previous_until)}.`);
	} });
}

export function removeDialog(webhook) {
	const waits = h("p", { class: "muted" }, "…");
	formDialog("Delete webhook", [
		h("p", {}, "Delete ", h("b", { class: "break" }, shortUrl(webhook.url)), "? Its secret is lost; what it did stays in the list of deliveries."), waits,
	], { submit: "Delete webhook", danger: true, work: async (form, dialog) => {
		await remove(path(webhook));
		dialog.close();
		forgetWebhooks();
		notify("Webhook deleted.");
		location.hash = "#/webhooks";
	} });
	get(`${path(webhook)}/stats`).then((stats) => {
		const n = stats.pending_deliveries;
		waits.textContent = n ? `${plural(n, "delivery that waits", "deliveries that wait")} for it will be canceled.` : "Nothing waits for it.";
	}).catch(() => { waits.textContent = "What waits for it will be canceled."; });
}

// Asks again where the time for one request was up.
async function recoverAll(webhook, body, total, bar, text, dialog) {
	let done = 0;
	let left;
	do {
		const answer = await post(`${path(webhook)}/recover`, body);
		done += answer.recovered;
		left = answer.remaining;
		bar.value = done;
		text.textContent = `${count(done)} of ${count(total)} …`;
	} while (left && dialog.open);
	return done;
}

export function recoverDialog(webhook, done) {
	const day = new Date(Date.now() - 86400000).toISOString();
	const since = h("input", { type: "datetime-local", name: "since", value: toLocalInput(day), required: true });
	const until = h("input", { type: "datetime-local", name: "until" });
	const text = h("p", { class: "big", role: "status" });
	const bar = h("progress", { hidden: true, "aria-label": "Progress" });
	const go = h("button", { type: "button", disabled: true }, "Recover");
	const cancel = cancelButton();
	let total = 0;
	const body = () => ({ since: fromLocalInput(since.value), until: until.value ? fromLocalInput(until.value) : undefined });
	const preview = async () => {
		go.disabled = true;
		if (!since.value) return;
		const answer = await post(`${path(webhook)}/recover`, { ...body(), preview: true }).catch((problem) => ({ problem }));
		total = answer.recoverable ?? 0;
		text.textContent = answer.problem?.message ?? (total ? `${plural(total, "event was", "events were")} not delivered here with success.` : "Everything of this time was delivered, or still waits.");
		go.textContent = total ? `Recover ${count(total)}` : "Recover";
		go.disabled = total === 0;
	};
	since.onchange = until.onchange = preview;
	const dialog = openDialog("Recover", h("div", {}, h("p", {}, "Delivers again all events of a time that did not get here: failed, canceled, or from before the target was there. What waits is left alone."),
		h("div", { class: "between" }, h("label", {}, "Since", since), h("label", {}, "Until (now)", until)), text, bar), [cancel, go], { onClose: done });
	go.onclick = async () => {
		go.hidden = true;
		bar.hidden = false;
		bar.max = total;
		const made = await recoverAll(webhook, body(), total, bar, text, dialog).catch((problem) => { text.textContent = problem.message; });
		if (made !== undefined) text.textContent = `Done: ${plural(made, "delivery begins", "deliveries begin")}.`;
		cancel.textContent = "Close";
		cancel.focus();
	};
	preview();
}
