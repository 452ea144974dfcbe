// Why requests were refused, in words, and how often.
import { h } from "./dom.js";
import { count } from "./parts.js";

const REASONS = {
	missing_signature: "No signature", invalid_signature: "Signature does not fit", rate_limited: "Too many requests",
	invalid_json: "Body is not JSON", invalid_event: "No usable event name", too_old: "Too old", not_found: "No such path",
	method_not_allowed: "Not a POST", length_required: "No length", bad_length: "Unusable length", body_too_large: "Body too large",
	unsupported_media_type: "Not application/json", short_body: "Body cut short", not_configured: "Configuration unusable",
	store_unavailable: "Store not available", store_full: "Store full", unauthorized: "API key not known", forbidden: "Scope too small",
};

export const reason = (code) => REASONS[code] ?? code;

// ROWS: [{code, count}].
export function refusalTable(rows) {
	const sorted = [...rows].sort((a, b) => b.count - a.count);
	const most = Math.max(1, ...sorted.map((row) => row.count));
	return h("table", { class: "bars" }, h("caption", { class: "away" }, "Refused requests by reason"),
		h("thead", { class: "away" }, h("tr", {}, h("th", { scope: "col" }, "Reason"), h("th", { scope: "col" }, "Share"), h("th", { scope: "col" }, "Count"))),
		h("tbody", {}, sorted.map((row) => h("tr", { key: row.code }, h("th", { scope: "row" }, reason(row.code), h("code", { class: "sub" }, row.code)),
			h("td", { class: "grow" }, h("progress", { max: most, value: String(row.count), "aria-label": reason(row.code) })), h("td", { class: "number" }, count(row.count))))));
}
