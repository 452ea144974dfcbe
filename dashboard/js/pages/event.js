// One event: its body, what became of it, and how to deliver or send it again.
import { h, show, visible } from "../dom.js";
import { get, post } from "../api.js";
import { liveView } from "../live.js";
import { link } from "../router.js";
import { may } from "../session.js";
import { full } from "../time.js";
import { copyButton, crumb, facts, heading, idLine, plural, size, state } from "../parts.js";
import { jsonView } from "../json.js";
import { curlLine, sourceUrl } from "../curl.js";
import { formDialog } from "../dialog.js";
import { choice } from "../filters.js";
import { knownWebhooks, targetName } from "../known.js";
import { notify } from "../notice.js";
import { endlessList } from "../list.js";
import { deliveryColumns } from "./deliveries.js";

export const title = "Event";

function download(event) {
	const url = URL.createObjectURL(new Blob([event.body], { type: "application/json" }));
	const a = h("a", { href: url, download: `${event.id}.json` });
	a.click();
	setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// The body never changes: it is drawn once.
function bodyCard(event) {
	const area = h("div", {});
	const draw = (raw) => area.replaceChildren(raw ? h("pre", { tabindex: "0", "aria-label": "Raw body" }, h("code", { class: "wrap" }, visible(event.body))) : jsonView(event.body));
	const tab = (text, raw) => h("button", { type: "button", class: "tab", "aria-pressed": String(!raw), onclick: (e) => {
		for (const other of e.target.parentNode.querySelectorAll(".tab")) other.setAttribute("aria-pressed", String(other === e.target));
		draw(raw);
	} }, text);
	draw(false);
	return h("section", { class: "card" }, h("div", { class: "card-head" },
		h("h2", {}, "Body ", h("span", { class: "muted small" }, size(new Blob([event.body]).size))),
		h("div", { class: "tabs" }, tab("Formatted", false), tab("Raw", true), copyButton(event.body),
			h("button", { type: "button", class: "small outline secondary", onclick: () => download(event) }, "Download"))), area);
}

function curlCard(event) {
	const text = curlLine(sourceUrl(event.source), event, event.body);
	return h("details", { class: "card fold" }, h("summary", {}, "Send it again with curl"),
		h("p", {}, "Signs the same body with the secret in ", h("code", {}, "$NTRVSTA_WEBHOOK_SECRET"), " and posts it: to try another receiver, for example. This one knows the event already and answers ",
			h("code", {}, "\"duplicate\":true"), "; to deliver it again, replay it. Change the URL where the source has another path."),
		h("div", { class: "card-head" }, h("span"), copyButton(text, "Copy command")),
		h("pre", { tabindex: "0", "aria-label": "Command" }, h("code", { class: "wrap" }, visible(text))));
}

async function replayDialog(event, known, done) {
	const targets = [...(known ?? new Map()).keys()].map((id) => [id, targetName(id, known)]);
	formDialog("Replay", [
		h("p", {}, "Delivers the event again, now, also where it was delivered with success. Receivers see the same id, so that they can tell."),
		choice("webhook", "Target", [["", "All that take this event"], ...targets]),
	], { submit: "Replay", work: async (form, dialog) => {
		const webhook = form.elements.webhook.value || undefined;
		const answer = await post(`events/${event.id}/replay`, { webhook });
		dialog.close();
		const n = Array.isArray(answer.deliveries) ? answer.deliveries.length : answer.deliveries;
		notify(n ? `${plural(n, "delivery begins", "deliveries begin")} anew.` : "Nothing to deliver: no target takes this event.");
		done();
	} });
}

function summary(event) {
	return facts([
		["Status", [state(event.status), event.test ? [" ", h("span", { class: "tag" }, "test")] : null]],
		["Received", full(event.received_at)],
		["Time it says", event.timestamp ? (Number.isNaN(Date.parse(event.timestamp)) ? visible(event.timestamp) : full(event.timestamp)) : "–"],
		["Source", event.source],
		event.idempotency_key ? ["Idempotency key", h("code", { class: "break" }, visible(event.idempotency_key))] : null,
		["Id", idLine(event.id)],
	]);
}

function deliveries(root, id, known, signal) {
	const list = endlessList(root, {
		path: "deliveries", caption: "Deliveries of this event", signal, parameters: () => ({ event_id: id }),
		columns: targetFirst(deliveryColumns(() => known)),
		empty: () => h("p", { class: "muted" }, "None: no handler and no webhook takes this event, or the dispatcher has not come to it yet."),
	});
	root.addEventListener("click", (e) => e.target.closest("a[href*='deliveries/']") && list.hold(), { signal });
	return list;
}

// All rows are of one event: the target names them.
function targetFirst(columns) {
	return columns.filter(({ label }) => label !== "Event").map((column) => (column.label !== "Target" ? column : { ...column, kind: "main grow",
		cell: (d) => h("a", { class: "strong clip", href: link(`deliveries/${d.id}`) }, column.cell(d)) }));
}

// What is drawn once: the body, and around the list that looks after itself.
function unchanging(root, event, known, signal) {
	const area = h("div");
	root.append(bodyCard(event), curlCard(event), h("section", {}, h("div", { class: "card-head" }, h("h2", {}, "Deliveries")), area));
	return deliveries(area, event.id, known, signal);
}

export function mount(root, { params: [id], signal }) {
	const head = h("div", {}, heading(title));
	const below = h("div", { class: "stack section" });
	root.append(crumb("#/events", "Events"), head);
	let known = null;
	let list = null;
	knownWebhooks().then((map) => { known = map; wake(); }, () => {});
	const wake = liveView(root, signal, async () => {
		const event = await get(`events/${encodeURIComponent(id)}`, {}, signal);
		const replay = may("write") && !event.test ? h("button", { type: "button", class: "outline", onclick: () => replayDialog(event, known, () => { wake(); list.wake(); }) }, "Replay …") : null;
		show(head, heading(event.event, replay));
		list ??= unchanging(below, event, await knownWebhooks().catch(() => null), signal);
		return h("section", { class: "card", key: "facts" }, summary(event));
	}, "There is no such event. Old ones are removed after the retention time.");
	root.append(below);
}
