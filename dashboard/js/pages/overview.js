// The last hour, day, week or month at a glance; each figure leads to its list.
import { h, visible } from "../dom.js";
import { get } from "../api.js";
import { liveView } from "../live.js";
import { link } from "../router.js";
import { bucketColumns, timeChart } from "../chart.js";
import { ago, duration, RANGES, sinceRange } from "../time.js";
import { callout, command, count, empty, heading, percent } from "../parts.js";
import { knownWebhooks, targetName } from "../known.js";
import { refusalTable } from "../refusals.js";

export const title = "Overview";

// One figure. TONE colours it where it wants attention.
export function tile(label, value, note, href, tone = "") {
	const inner = [h("span", { class: "label" }, label), h("strong", { class: tone }, value), h("span", { class: "note" }, note ?? "")];
	return href ? h("a", { class: "tile", href, key: label }, inner) : h("div", { class: "tile", key: label }, inner);
}

const rateTone = (rate) => (rate === null || rate >= 99 ? "" : rate >= 90 ? "wait" : "bad");

function tiles(o, range) {
	return h("section", { class: "tiles", "aria-label": "Figures", key: "tiles" },
		tile("Events received", count(o.events_received), RANGES[range].toLowerCase(), link("events", { range })),
		tile("Success rate", percent(o.success_rate), `${count(o.successful_deliveries)} delivered`, link("deliveries", { status: "success", range }), rateTone(o.success_rate)),
		tile("Failed", count(o.failed_deliveries), "given up", link("deliveries", { status: "failed", range }), o.failed_deliveries ? "bad" : ""),
		tile("Waiting", count(o.pending_deliveries), o.oldest_waiting_at ? ["oldest ", ago(o.oldest_waiting_at)] : "nothing waits", link("deliveries", { status: "waiting" }), o.pending_deliveries && !o.dispatcher_running ? "bad" : ""),
		tile("Median duration", duration(o.p50_ms), ["95 % within ", duration(o.p95_ms)], link("webhooks")));
}

function chart(o, range) {
	const { times, of } = bucketColumns(o.buckets);
	const bad = of("failed_attempts");
	return timeChart({ label: RANGES[range], bucket: o.bucket_seconds, times, series: [
		{ label: "Attempts that worked", color: "--chart", values: of("attempts").map((all, i) => all - bad[i]) },
		{ label: "Failed attempts", color: "--bad", values: bad },
		{ label: "Events", color: "--chart-line", values: of("events"), line: true },
	] });
}

function firstSteps() {
	return empty("No events yet", "Point the platform at this server's URL, or send an event as the platform would, with a sample of its data:", command("ntrvsta send session.completed"),
		h("p", {}, "Where events go from here is set under ", h("a", { href: "#/webhooks" }, "Webhooks"), "."));
}

function refusals(o) {
	return h("section", { class: "card", key: "refusals" }, h("div", { class: "card-head" }, h("h2", {}, "Refused requests"), h("a", { href: "#/security" }, "By time and address")),
		o.refusals.length ? refusalTable(o.refusals) : h("p", { class: "muted" }, "None in this time."));
}

const FAILURES = 5;

// The newest that were given up, so that one sees what is wrong without going anywhere.
function failures(page, known, range) {
	if (!page.data.length) return null;
	return h("section", { class: "card", key: "failures" }, h("div", { class: "card-head" }, h("h2", {}, "Latest failures"), h("a", { href: link("deliveries", { status: "failed", range }) }, "All failed")),
		h("table", { class: "plain-table" }, h("caption", { class: "away" }, "Latest failed deliveries"),
			h("thead", { class: "away" }, h("tr", {}, ["Event", "Target", "Error", "When"].map((label) => h("th", { scope: "col" }, label)))),
			h("tbody", {}, page.data.map((d) => h("tr", { key: d.id },
				h("td", { class: "main" }, h("a", { href: link(`deliveries/${d.id}`) }, d.event), h("div", { class: "sub narrow" }, targetName(d.webhook_id, known))),
				h("td", { class: "wide grow" }, h("span", { class: "clip" }, targetName(d.webhook_id, known))),
				h("td", { class: "wide grow" }, h("span", { class: "clip" }, visible(d.error_message ?? ""))),
				h("td", { class: "time" }, ago(d.updated_at)))))));
}

function view([o, failed, known], range) {
	const quiet = !o.events_received && !o.total_deliveries && !o.pending_deliveries;
	return [
		o.dispatcher_running ? null : callout("bad", h("b", {}, "No dispatcher runs. "), "Events are kept, and their deliveries wait until one does: ", h("code", {}, "ntrvsta dispatch")),
		tiles(o, range),
		h("section", { class: "card", key: "chart", "aria-label": "Chart" }, h("h2", {}, "Events and deliveries"), quiet ? firstSteps() : chart(o, range)),
		failures(failed, known, range),
		o.refusals ? refusals(o) : null,
	];
}

export function rangePicker(path, range) {
	return h("nav", { class: "ranges", "aria-label": "Time" }, Object.entries(RANGES).map(([value, text]) =>
		h("a", { href: link(path, { range: value }), title: text, "aria-current": value === range ? "true" : null }, value)));
}

export function mount(root, { query, signal }) {
	const range = RANGES[query.range] ? query.range : "24h";
	root.append(heading(title, rangePicker("overview", range)));
	liveView(root, signal, async () => view(await Promise.all([
		get("overview", { timeRange: range }, signal),
		get("deliveries", { status: "failed", limit: FAILURES, since: sinceRange(range) }, signal),
		knownWebhooks(),
	]), range));
}
