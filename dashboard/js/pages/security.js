// Refused requests over time, by reason and by address; how old the secrets are.
import { h } from "../dom.js";
import { get } from "../api.js";
import { liveView } from "../live.js";
import { timeChart } from "../chart.js";
import { ago, RANGES } from "../time.js";
import { count, heading } from "../parts.js";
import { reason, refusalTable } from "../refusals.js";
import { current } from "../session.js";
import { secretsCard } from "../secret-ages.js";
import { rangePicker } from "./overview.js";

export const title = "Security";

const COLORS = ["--bad", "--c3", "--c4", "--c5"];

function totals(buckets) {
	const sums = new Map();
	for (const { code, count: n } of buckets) sums.set(code, (sums.get(code) ?? 0) + n);
	return [...sums].map(([code, n]) => ({ code, count: n })).sort((a, b) => b.count - a.count);
}

// The times of all columns, also of those in which nothing was refused.
function columnTimes({ from, to, bucket_seconds: bucket }) {
	const times = [];
	for (let t = Math.floor(new Date(from) / 1000 / bucket) * bucket; t < new Date(to) / 1000; t += bucket) times.push(t);
	return times;
}

function chart(security, sums, range) {
	const times = columnTimes(security);
	const place = new Map(times.map((t, i) => [t, i]));
	const named = sums.slice(0, COLORS.length - 1).map(({ code }) => code);
	const groups = sums.length > COLORS.length ? [...named, null] : sums.map(({ code }) => code);
	const series = groups.map((code, i) => ({ label: code ? reason(code) : "Others", color: COLORS[i], values: times.map(() => 0) }));
	for (const bucket of security.refusals.buckets) {
		const i = place.get(Math.floor(new Date(bucket.start) / 1000 / security.bucket_seconds) * security.bucket_seconds);
		const group = groups.includes(bucket.code) ? groups.indexOf(bucket.code) : groups.length - 1;
		if (i !== undefined) series[group].values[i] += bucket.count;
	}
	return timeChart({ label: RANGES[range], bucket: security.bucket_seconds, times, series });
}

function addresses(rows) {
	return h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "By address" }, h("table", { class: "addresses" }, h("caption", { class: "away" }, "Refused requests by address"),
		h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Address"), h("th", { scope: "col", class: "wide" }, "Reason"), h("th", { scope: "col", class: "number" }, "Count"), h("th", { scope: "col", class: "time" }, "Last"))),
		h("tbody", {}, rows.map((row) => h("tr", { key: `${row.address} ${row.code}` },
			h("th", { scope: "row" }, h("code", { class: "plain-code break" }, row.address), h("div", { class: "sub narrow" }, reason(row.code))),
			h("td", { class: "wide" }, reason(row.code)), h("td", { class: "number" }, count(row.count)), h("td", { class: "time" }, ago(row.last_at)))))));
}

function view([security, { data: webhooks }], range) {
	const sums = totals(security.refusals.buckets);
	const none = h("p", { class: "muted" }, "No request was refused in this time. Wrong signatures, unknown keys and floods would show here.");
	return [
		h("section", { class: "card", key: "chart" }, h("h2", {}, "Refused requests"), sums.length ? chart(security, sums, range) : none),
		sums.length ? h("section", { class: "card", key: "reasons" }, h("h2", {}, "By reason"), refusalTable(sums)) : null,
		sums.length ? h("section", { class: "card", key: "addresses" }, h("h2", {}, "By address"), security.refusals.addresses.length ? addresses(security.refusals.addresses)
			: h("p", { class: "muted" }, current()?.org === "default" ? "No addresses are noted." : "Addresses are shown to keys of organisation default only.")) : null,
		secretsCard(security.secrets, webhooks),
	];
}

export function mount(root, { query, signal }) {
	const range = RANGES[query.range] ? query.range : "24h";
	root.append(heading(title, rangePicker("security", range)));
	liveView(root, signal, async () => view(await Promise.all([get("security", { timeRange: range }, signal), get("webhooks", { limit: 250 }, signal)]), range));
}
