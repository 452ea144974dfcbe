// JSON as it came, with colours and folds. A parser of its own, since that of the browser would change long
// numbers and drop repeated names.
import { h, visible } from "./dom.js";

const TOKEN = /\s*(?:("(?:[^"\\]|\\.)*")|(-?\d[\d.eE+-]*)|(true|false|null)|([[\]{},:]))/y;
const OPEN_DEPTH = 6;
const BIG = 100000; // from so many characters on only the outermost level is unfolded

function tokens(text) {
	const found = [];
	TOKEN.lastIndex = 0;
	for (let match; (match = TOKEN.exec(text));) {
		const [, string, number, word, sign] = match;
		found.push({ kind: string ? "string" : number ? "number" : word ? "word" : sign, text: string ?? number ?? word ?? sign });
	}
	return found;
}

function parseMembers(list, at, end) {
	const members = [];
	while (list[at.i] && list[at.i].kind !== end) {
		let name = null;
		if (end === "}") {
			name = list[at.i].text;
			at.i += 2;
		}
		members.push({ name, value: parseValue(list, at) });
		if (list[at.i]?.kind === ",") at.i++;
	}
	at.i++;
	return members;
}

function parseValue(list, at) {
	const token = list[at.i++];
	if (!token) return { kind: "word", text: "" };
	if (token.kind === "{") return { kind: "object", members: parseMembers(list, at, "}") };
	if (token.kind === "[") return { kind: "array", members: parseMembers(list, at, "]") };
	return token;
}

// "\u00e9" as é, but nothing that could not be seen.
function readable(literal) {
	try {
		return visible(JSON.stringify(JSON.parse(literal)));
	} catch {
		return visible(literal);
	}
}

function line(name, last, ...value) {
	return h("div", { class: "j-line" }, name === null ? null : [h("span", { class: "j-key" }, readable(name)), ": "], value, last ? "" : ",");
}

function folded({ kind, members }, name, last, depth, open) {
	const [begin, end] = kind === "object" ? "{}" : "[]";
	if (!members.length) return line(name, last, begin + end);
	const inner = h("div", { class: "j-inner" });
	// What is folded is made when it is first opened.
	const fill = () => inner.firstChild || inner.append(...members.map((member, i) => draw(member.value, member.name, i === members.length - 1, depth + 1, open)));
	const opened = depth < open;
	if (opened) fill();
	const word = kind === "object" ? "field" : "item";
	return h("details", { class: "j-fold", open: opened, ontoggle: fill },
		h("summary", {}, name === null ? null : [h("span", { class: "j-key" }, readable(name)), ": "], begin,
			h("span", { class: "j-more" }, ` ${members.length} ${word}${members.length === 1 ? "" : "s"} `, end, last ? "" : ",")),
		inner, h("div", { class: "j-line j-end" }, end, last ? "" : ","));
}

function draw(value, name, last, depth, open) {
	if (value.members) return folded(value, name, last, depth, open);
	return line(name, last, h("span", { class: `j-${value.kind}` }, value.kind === "string" ? readable(value.text) : value.text));
}

export function jsonView(text) {
	const value = parseValue(tokens(text), { i: 0 });
	return h("div", { class: "json" }, draw(value, null, true, 0, text.length > BIG ? 1 : OPEN_DEPTH));
}
