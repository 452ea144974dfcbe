// One webhook, or handler: how it does, what it is, and all that can be done with it.
import { h, show, visible } from "../dom.js";
import { get, segment } from "../api.js";
import { liveView } from "../live.js";
import { link } from "../router.js";
import { may } from "../session.js";
import { bucketColumns, timeChart } from "../chart.js";
import { ageDays, ago, duration, full, OLD_DAYS } from "../time.js";
import { callout, count, crumb, facts, heading, idLine, percent, webhookState } from "../parts.js";
import { forgetWebhooks, shortUrl } from "../known.js";
import { editWebhook, isDetailed } from "../webhook-form.js";
import { activate, recoverDialog, removeDialog, rotateDialog } from "../webhook-actions.js";
import { connectivityDialog, testDialog } from "../webhook-tests.js";
import { verification } from "../secret.js";
import { endlessList } from "../list.js";
import { deliveryColumns } from "./deliveries.js";
import { tile } from "./overview.js";

export const title = "Webhook";

const WHY = {
	gone: "It answered 410: the receiver wants no more events. Activate it again once that is settled.",
	failing: "Nothing but failures for days switched it off. Mend the receiver, activate it, then recover what was missed.",
};

function figures(webhook, stats) {
	const list = (status) => link("deliveries", { status, webhook: webhook.id, range: status === "waiting" ? "" : "24h" });
	return h("section", { class: "tiles", "aria-label": "Figures of the last 24 hours", key: "tiles" },
		tile("Success rate", percent(stats.success_rate), `${count(stats.successful_deliveries)} delivered in 24 h`, list("success"), stats.success_rate !== null && stats.success_rate < 90 ? "bad" : ""),
		tile("Failed", count(stats.failed_deliveries), "in 24 h", list("failed"), stats.failed_deliveries ? "bad" : ""),
		tile("Waiting", count(stats.pending_deliveries), "now", list("waiting")),
		tile("Median duration", duration(stats.p50_ms), `95 % within ${duration(stats.p95_ms)}`));
}

function secrets(webhook) {
	if (webhook.kind === "handler") return null;
	return ["Secrets", h("ul", { class: "plain" }, webhook.secrets.map(({ created_at: made, expires_at: end }) =>
		h("li", {}, "made ", ago(made), end ? [", signs until ", full(end)] : null,
			!end && ageDays(made) > OLD_DAYS ? h("span", { class: "state wait nudge" }, `Older than ${OLD_DAYS} days: rotate it`) : null)))];
}

function details(webhook) {
	return h("section", { class: "card", key: "details" }, h("h2", {}, "Details"), facts([
		["State", webhookState(webhook)],
		webhook.url ? ["URL", h("span", { class: "break" }, visible(webhook.url))] : ["Script", h("code", { class: "break" }, `handlers/${webhook.id}`)],
		webhook.description ? ["Description", visible(webhook.description)] : null,
		["Events", webhook.events[0] === "*" ? "all" : h("span", { class: "chips" }, webhook.events.map((name) => h("code", {}, name)))],
		secrets(webhook),
		webhook.kind === "webhook" ? ["Log", isDetailed(webhook) ? "detailed: requests and answers are kept" : "normal: only failures keep an excerpt"] : null,
		webhook.created_at ? ["Created", full(webhook.created_at)] : null,
		webhook.url ? ["Id", idLine(webhook.id)] : null,
	]));
}

function chart({ buckets, from, to }) {
	const { times, of } = bucketColumns(buckets);
	const bad = of("failed_attempts");
	const bucket = times.length > 1 ? times[1] - times[0] : (new Date(to) - new Date(from)) / 1000;
	return h("section", { class: "card", key: "chart" }, h("h2", {}, "Attempts"), timeChart({ label: "Last 24 hours", bucket, times, series: [
		{ label: "Worked", color: "--chart", values: of("attempts").map((all, i) => all - bad[i]) },
		{ label: "Failed", color: "--bad", values: bad },
	] }));
}

function actions(webhook, changed) {
	if (!may("write")) return [];
	const button = (text, work, kind = "outline secondary") => h("button", { type: "button", class: kind, onclick: work, key: text }, text);
	if (webhook.kind === "handler") return [button("Send test event", () => testDialog(webhook)), button("Recover …", () => recoverDialog(webhook, changed))];
	return [
		button("Send test event", () => testDialog(webhook), "outline"),
		button("Test connectivity", () => connectivityDialog(webhook)),
		button("Edit", () => editWebhook(webhook, changed)),
		button(webhook.active ? "Deactivate" : "Activate", () => activate(webhook, changed)),
		button("Rotate secret", () => rotateDialog(webhook, changed)),
		button("Recover …", () => recoverDialog(webhook, changed)),
		button("Delete", () => removeDialog(webhook), "outline danger"),
	];
}

function view(webhook, stats) {
	const why = webhook.active ? null : WHY[webhook.inactive_reason] ?? (webhook.kind === "handler" ? webhook.inactive_reason : "Switched off: it gets no new events, and what waits for it waits on.");
	return [why ? callout(webhook.inactive_reason ? "bad" : "idle", why) : null, figures(webhook, stats), stats.buckets ? chart(stats) : null, details(webhook)];
}

export function mount(root, { params: [id], signal }) {
	const head = h("div", {}, heading(shortUrl(id)));
	const recent = h("section", { class: "section" });
	root.append(crumb("#/webhooks", "Webhooks"), head);
	let list = null;
	const wake = liveView(root, signal, async () => {
		const path = `webhooks/${segment(id)}`;
		const [webhook, stats] = await Promise.all([get(path, {}, signal), get(`${path}/stats`, { timeRange: "24h", include: "buckets" }, signal)]);
		const known = new Map([[id, webhook]]);
		show(head, heading(webhook.url ? shortUrl(webhook.url) : id, actions(webhook, changed)));
		list ??= deliveries(recent, id, known, signal, webhook);
		return view(webhook, stats);
	}, "There is no such webhook; it may have been deleted.");
	root.append(recent);
	function changed() {
		forgetWebhooks();
		wake();
	}
}

function deliveries(root, id, known, signal, webhook) {
	root.append(h("div", { class: "card-head" }, h("h2", {}, "Deliveries"), h("a", { href: link("deliveries", { webhook: id }) }, "With filters")));
	const list = endlessList(root.appendChild(h("div")), {
		path: "deliveries", caption: "Deliveries to this target, newest first", signal, parameters: () => ({ webhook: id }),
		columns: deliveryColumns(() => known).filter(({ label }) => label !== "Target"),
		empty: () => h("p", { class: "muted" }, "Nothing was delivered here yet. ", may("write") ? "Send a test event to try it." : ""),
	});
	root.addEventListener("click", (e) => e.target.closest("a[href*='deliveries/']") && list.hold(), { signal });
	if (webhook.kind === "webhook") root.after(h("details", { class: "card fold" }, h("summary", {}, "How the receiver verifies calls"), verification()));
	return list;
}
