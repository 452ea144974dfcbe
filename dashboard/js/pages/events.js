// What came in, newest first, and a search through ids, names and bodies.
import { h } from "../dom.js";
import { endlessList } from "../list.js";
import { field, filters, forApi } from "../filters.js";
import { eventTypes } from "../known.js";
import { link } from "../router.js";
import { at, full } from "../time.js";
import { command, count, empty, heading, state } from "../parts.js";

export const title = "Events";

function became({ deliveries: { total, success, failed, waiting } }) {
	if (!total) return h("span", { class: "none" }, "–");
	const parts = [success ? h("span", { class: "state ok" }, `${count(success)} of ${count(total)}`) : null,
		failed ? h("span", { class: "state bad" }, `${count(failed)} failed`) : null,
		waiting ? h("span", { class: "state wait" }, `${count(waiting)} waiting`) : null];
	return h("span", { class: "parts" }, parts);
}

const COLUMNS = [
	{ label: "Status", kind: "fit mark", cell: (e) => state(e.status) },
	{ label: "Event", kind: "main", cell: (e) => [
		h("a", { href: link(`events/${e.id}`), class: "strong" }, e.event), e.test ? h("span", { class: "tag" }, "test") : null,
		h("div", { class: "sub narrow" }, became(e)),
	] },
	{ label: "Id", kind: "wide", cell: (e) => h("code", { class: "sub plain-code" }, e.id) },
	{ label: "Source", kind: "wide", cell: (e) => e.source },
	{ label: "Deliveries", kind: "wide", cell: became },
	{ label: "Received", kind: "time", cell: (e) => at(e.received_at) },
];

function nothing(form) {
	if (form.query().q) return h("p", { class: "muted center" }, "Nothing fits so far.");
	if (form.any()) return empty("No event fits", "Choose other filters, or a longer time.");
	return empty("No events yet", "Everything that comes in, correctly signed, is shown here. Send one as the platform would:", command("ntrvsta send session.completed"));
}

// A search tells how far back it looked; it goes on while one scrolls.
function searched(list, form) {
	if (!form.query().q) return null;
	if (!list.more || !list.searched) return h("p", { class: "muted center" }, "All events of this time were searched.");
	return h("p", { class: "muted center" }, "Searched back to ", full(list.searched), ".");
}

export function mount(root, { query, signal }) {
	const names = h("datalist", { id: "event-names" });
	const form = filters("events", query, [
		field("q", "Search", { type: "search", class: "search", placeholder: "id, candidate’s e-mail, session id …", spellcheck: "false" }, query.q),
		field("event", "Event", { type: "search", list: "event-names", placeholder: "any" }, query.event),
	], () => list.reload());
	root.append(heading(title), form.form, names);
	const list = endlessList(root.appendChild(h("section", { "aria-label": title })), {
		path: "events", caption: "Events, newest first", signal, columns: COLUMNS,
		parameters: () => forApi(form.query()),
		empty: () => nothing(form),
		foot: (rows) => searched(rows, form),
		patience: () => 250,
	});
	root.addEventListener("click", (e) => e.target.closest("a[href*='events/']") && list.hold(), { signal });
	eventTypes().then((types) => names.append(...types.map(({ name }) => h("option", { value: name })))).catch(() => {});
}
