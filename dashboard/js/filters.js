// The filters above a list: a form whose values stand in the address, so that they can be linked to.
import { h } from "./dom.js";
import { remember } from "./router.js";
import { fromLocalInput, RANGES, sinceRange, toLocalInput } from "./time.js";

function option(value, text, chosen) {
	return h("option", { value, selected: value === chosen }, text);
}

// A <select>; OPTIONS are [value, text].
export function choice(name, label, options, value = "") {
	if (value && !options.some(([known]) => known === value)) options = [...options, [value, value]];
	return h("label", {}, h("span", {}, label), h("select", { name }, options.map(([known, text]) => option(known, text, value))));
}

export function field(name, label, attributes, value = "") {
	return h("label", { class: attributes.class }, h("span", {}, label), h("input", { name, ...attributes, class: null, value }));
}

function timeFields(query) {
	const custom = Boolean(query.since || query.until);
	const ranges = [["", "Any time"], ...Object.entries(RANGES), ["custom", "From … to …"]];
	const between = h("div", { class: "between", hidden: !custom },
		field("since", "From", { type: "datetime-local" }, toLocalInput(query.since)),
		field("until", "To", { type: "datetime-local" }, toLocalInput(query.until)));
	const select = choice("range", "Time", ranges, custom ? "custom" : query.range);
	select.querySelector("select").onchange = (e) => { between.hidden = e.target.value !== "custom"; };
	return [select, between];
}

// Reads FORM into a query for the address: {status, event, range, since, until, ...}.
function read(form) {
	const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
	const custom = values.range === "custom";
	values.since = custom ? fromLocalInput(values.since) : "";
	values.until = custom ? fromLocalInput(values.until) : "";
	if (custom) values.range = "";
	return values;
}

// Of a query in the address, what the API understands.
export function forApi({ range, ...query }) {
	const known = Object.fromEntries(Object.entries(query).filter(([, value]) => value));
	if (RANGES[range]) known.since = sinceRange(range);
	return known;
}

// {form, query()}: FIELDS come first, then those for the time. Tells ONCHANGE after each change.
export function filters(path, query, fields, onChange) {
	let values = { ...query };
	let timer = 0;
	const apply = () => {
		clearTimeout(timer);
		const next = read(form);
		if (JSON.stringify(next) === JSON.stringify(values)) return;
		values = next;
		remember(path, values);
		onChange();
	};
	const form = h("form", { class: "filters", "aria-label": "Filters",
		onsubmit: (e) => { e.preventDefault(); apply(); },
		oninput: (e) => { clearTimeout(timer); timer = setTimeout(apply, e.target.tagName === "INPUT" ? 350 : 0); } },
		fields, timeFields(query));
	return { form, query: () => values, any: () => Object.values(values).some(Boolean) };
}
