// What was delivered, and what was not: one row a delivery, with filters, and a retry of all that they show.
import { h, visible } from "../dom.js";
import { may } from "../session.js";
import { endlessList } from "../list.js";
import { choice, field, filters, forApi } from "../filters.js";
import { eventTypes, knownWebhooks, targetName } from "../known.js";
import { link } from "../router.js";
import { ago, at } from "../time.js";
import { command, count, empty, heading, state } from "../parts.js";
import { bulkRetry } from "../bulk.js";

export const title = "Deliveries";

const STATUSES = [["", "All"], ["waiting", "Waiting or running"], ["failed", "Failed"], ["success", "Success"], ["canceled", "Canceled"]];

function next(delivery) {
	if (delivery.held) return h("span", { class: "muted" }, visible(delivery.held));
	if (delivery.status === "pending") return h("span", { class: "clip" }, "next try ", ago(delivery.next_attempt_at), delivery.error_message ? h("span", { class: "muted" }, " · ", visible(delivery.error_message)) : null);
	return delivery.error_message ? h("span", { class: "clip", title: visible(delivery.error_message) }, visible(delivery.error_message)) : h("span", { class: "none" }, "–");
}

export const deliveryColumns = (known) => [
	{ label: "Status", kind: "fit mark", cell: (d) => state(d.status) },
	{ label: "Event", kind: "main", cell: (d) => [
		h("a", { href: link(`deliveries/${d.id}`), class: "strong" }, d.event), d.test ? h("span", { class: "tag" }, "test") : null,
		h("div", { class: "sub narrow" }, targetName(d.webhook_id, known())),
	] },
	{ label: "Target", kind: "wide grow", cell: (d) => h("span", { class: "clip", title: known()?.get(d.webhook_id)?.url ?? d.webhook_id }, targetName(d.webhook_id, known())) },
	{ label: "Attempts", kind: "wide number", cell: (d) => count(d.attempt_count) },
	{ label: "Next try or error", kind: "wide grow", cell: next },
	{ label: "Created", kind: "time", cell: (d) => at(d.created_at) },
];

function nothing(filtered, more) {
	if (more) return h("p", { class: "muted center" }, "Looking further back …");
	if (filtered) return empty("No delivery fits", "Choose other filters, or a longer time.");
	return empty("No deliveries yet", "Each event is delivered to the handlers and webhooks that take it. Send one to see it here:", command("ntrvsta send session.completed"));
}

export function mount(root, { query, signal }) {
	let known = null;
	const webhook = choice("webhook", "Target", [["", "All"]], query.webhook);
	const events = h("datalist", { id: "event-names" });
	const form = filters("deliveries", query, [
		choice("status", "Status", STATUSES, query.status),
		field("event", "Event", { type: "search", list: "event-names", placeholder: "any" }, query.event),
		webhook,
	], () => list.reload());
	const retry = h("button", { type: "button", class: "outline", onclick: () => bulkRetry(forApi(form.query()), known, () => list.wake()) }, "Retry many …");
	root.append(heading(title, may("write") ? retry : null), form.form, events);
	const list = endlessList(root.appendChild(h("section", { "aria-label": title })), {
		path: "deliveries", caption: "Deliveries, newest first", signal,
		columns: deliveryColumns(() => known),
		version: () => (known ? 1 : 0),
		parameters: () => forApi(form.query()),
		empty: (more) => nothing(form.any(), more),
		patience: () => 250,
	});
	root.addEventListener("click", (e) => e.target.closest("a[href*='deliveries/']") && list.hold(), { signal });
	nameThings(webhook.querySelector("select"), events, query).then((map) => { known = map; list.draw(); }).catch(() => {});
}

async function nameThings(select, events, query) {
	const [map, types] = await Promise.all([knownWebhooks(), eventTypes()]);
	for (const id of map.keys()) {
		if (id !== query.webhook) select.append(h("option", { value: id }, targetName(id, map)));
		else select.querySelector(`option[value="${CSS.escape(id)}"]`).textContent = targetName(id, map);
	}
	events.append(...types.map(({ name }) => h("option", { value: name })));
	return map;
}
