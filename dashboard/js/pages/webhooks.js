// Handlers and webhooks in one list, with how they do.
import { h, visible } from "../dom.js";
import { get } from "../api.js";
import { liveView } from "../live.js";
import { link } from "../router.js";
import { may } from "../session.js";
import { sparkline } from "../spark.js";
import { ago, duration } from "../time.js";
import { command, count, empty, heading, percent, webhookState } from "../parts.js";
import { forgetWebhooks, shortUrl } from "../known.js";
import { addWebhook } from "../webhook-form.js";

export const title = "Webhooks";

const href = (webhook) => link(`webhooks/${webhook.id}`);

function events(webhook) {
	if (webhook.events[0] === "*") return "all events";
	return webhook.events.length > 2 ? `${webhook.events[0]} and ${webhook.events.length - 1} more` : webhook.events.join(", ");
}

// What the columns say for which a phone has no room.
function narrow({ stats }) {
	return [percent(stats.success_rate), " in 24 h", stats.pending_deliveries ? ` · ${count(stats.pending_deliveries)} waiting` : null, stats.last_attempt_at ? [" · ", ago(stats.last_attempt_at)] : null];
}

function name(webhook) {
	return [h("a", { class: "strong clip", href: href(webhook), title: webhook.url ?? webhook.id }, webhook.url ? shortUrl(webhook.url) : webhook.id),
		h("div", { class: "sub clip" }, h("span", { class: "tag" }, webhook.kind === "handler" ? "script" : "URL"),
			webhook.description ? h("span", {}, visible(webhook.description), " · ") : null, h("span", { title: webhook.events.join(", ") }, events(webhook))),
		h("div", { class: "sub narrow" }, narrow(webhook))];
}

function rate({ stats }) {
	return h("div", { class: "rate" }, sparkline(stats.buckets ?? []), h("span", { class: stats.success_rate !== null && stats.success_rate < 90 ? "bad-text" : null }, percent(stats.success_rate)));
}

function waiting(webhook) {
	const { pending_deliveries: n } = webhook.stats;
	return n ? h("a", { href: link("deliveries", { status: "waiting", webhook: webhook.id }) }, count(n)) : h("span", { class: "none" }, "0");
}

const COLUMNS = [
	{ label: "Target", kind: "main grow", cell: name },
	{ label: "State", kind: "fit", cell: webhookState },
	{ label: "Success, 24 h", kind: "wide", cell: rate },
	{ label: "p95", kind: "wide number", cell: ({ stats }) => duration(stats.p95_ms) },
	{ label: "Waiting", kind: "wide number", cell: waiting },
	{ label: "Last attempt", kind: "wide time", cell: ({ stats }) => ago(stats.last_attempt_at) },
];

function follow(event) {
	if (!event.target.closest("a, button") && !String(getSelection())) event.currentTarget.querySelector("a").click();
}

function table(rows) {
	return h("div", { class: "table-wrap" }, h("table", { class: "list" }, h("caption", { class: "away" }, "Handlers and webhooks"),
		h("thead", {}, h("tr", {}, COLUMNS.map(({ label, kind }) => h("th", { scope: "col", class: kind }, label)))),
		h("tbody", {}, rows.map((webhook) => h("tr", { key: webhook.id, onclick: follow }, COLUMNS.map(({ kind, cell }) => h("td", { class: kind }, cell(webhook))))))));
}

function view(rows, more) {
	const urls = rows.filter(({ kind }) => kind === "webhook").length;
	return [
		rows.length ? table(rows) : empty("Nothing takes events yet", "Events are kept, but go nowhere. Put a script into the handlers folder, or add a webhook: a URL that each event is posted to."),
		more ? h("p", { class: "muted" }, "Only the first 250 are shown.") : null,
		rows.length && !urls ? h("p", { class: "hint", key: "hint" }, may("write") ? "Only scripts take events so far. Add a webhook to have them posted to a URL, too." : "Only scripts take events so far.") : null,
		h("details", { key: "scripts" }, h("summary", {}, "Scripts can't be changed here"), h("p", {}, "Handlers are files on the receiving machine: ", h("code", {}, "handlers/EVENT/NAME"), ", executable. What runs for each event is told by:"), command("ntrvsta check")),
	];
}

export function mount(root, { query, signal }) {
	const add = may("write") ? h("button", { type: "button", onclick: () => addWebhook(changed) }, "Add webhook") : null;
	root.append(heading(title, add));
	const wake = liveView(root, signal, async () => {
		const page = await get("webhooks", { limit: 250, include: "stats", timeRange: "24h" }, signal);
		return view(page.data, page.has_more);
	});
	function changed() {
		forgetWebhooks();
		wake();
	}
	if (query.add && add) addWebhook(changed);
}
