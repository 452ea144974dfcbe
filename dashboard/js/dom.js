// Elements without markup: h() builds them, morph() brings what is on screen up to date. All text becomes
// text nodes, so nothing that an event holds is ever read as HTML.

const HANDLERS = ["onclick", "onsubmit", "onchange", "oninput", "ontoggle", "onclose", "onkeydown"];
const PROPERTIES = ["value", "checked", "disabled", "selected", "key", "refresh"];
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
	for (const [name, value] of Object.entries(attributes ?? {})) {
		if (value === null || value === undefined || value === false) continue;
		if (HANDLERS.includes(name) || PROPERTIES.includes(name)) element[name] = value;
		else element.setAttribute(name, value === true ? "" : value);
	}
	element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
	return element;
}

// h("a", { href: "#/", class: "x" }, "text", node, [more]); null and false children are left out.
// `key` names a child among its siblings for morph(). An element with `refresh` looks after itself: morph()
// calls refresh(newer element) instead of touching what is in it.
export function h(tag, attributes, ...children) {
	return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
	return fill(document.createElementNS(SVG, tag), attributes, children);
}

function matching(candidate, wanted) {
	return candidate && candidate.nodeType === wanted.nodeType && candidate.nodeName === wanted.nodeName &&
		candidate.key === wanted.key;
}

function morphAttributes(old, wanted) {
	// What the reader opened stays open.
	const own = old.nodeName === "DETAILS" || old.nodeName === "DIALOG" ? "open" : "";
	for (const { name } of [...old.attributes]) {
		if (name !== own && !wanted.hasAttribute(name)) old.removeAttribute(name);
	}
	for (const { name, value } of wanted.attributes) {
		if (name === own || old.getAttribute(name) === value) continue;
		// As an attribute a style would be inline, which the policy forbids.
		if (name === "style") old.style.cssText = value;
		else old.setAttribute(name, value);
	}
	for (const name of HANDLERS) {
		if (old[name] !== wanted[name]) old[name] = wanted[name];
	}
	if ("disabled" in old && old.disabled !== wanted.disabled) old.disabled = wanted.disabled;
}

function morphChildren(old, wanted) {
	const keyed = new Map();
	for (const child of old.childNodes) {
		if (child.key !== undefined) keyed.set(child.key, child);
	}
	let at = old.firstChild;
	for (const next of [...wanted.childNodes]) {
		let found = next.key !== undefined ? keyed.get(next.key) : at;
		if (!matching(found, next)) found = null;
		if (!found) {
			old.insertBefore(next, at);
			continue;
		}
		if (found === at) at = at.nextSibling;
		else old.insertBefore(found, at);
		morph(found, next);
	}
	while (at) {
		const gone = at;
		at = at.nextSibling;
		gone.remove();
	}
}

// Makes OLD look as WANTED does, and changes only what differs: focus, selection, scroll position, opened
// folds and what was typed stay.
export function morph(old, wanted) {
	if (old.nodeType === Node.TEXT_NODE) {
		if (old.data !== wanted.data) old.data = wanted.data;
		return;
	}
	if (old.refresh) {
		old.refresh(wanted);
		return;
	}
	morphAttributes(old, wanted);
	if (old.nodeName !== "INPUT" && old.nodeName !== "TEXTAREA" && old.nodeName !== "SELECT") morphChildren(old, wanted);
}

// Puts CONTENT in the place of what ROOT holds, by morph().
export function show(root, ...content) {
	const wanted = root.cloneNode(false);
	for (const name of HANDLERS) wanted[name] = root[name];
	wanted.append(...content.flat(Infinity).filter(Boolean));
	morphChildren(root, wanted);
}

// Control characters as "\\x1b", so that terminal escapes and text directions in what a script printed can't
// hide anything.
export function visible(text) {
	return String(text).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"))
		.replace(/[\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}
