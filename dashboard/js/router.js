// Which page the hash names: "#/deliveries/dlv_x?status=failed". One file a page, fetched when first needed.
// A page is mount(root, context) with context {params, query, signal}; SIGNAL aborts when the reader leaves.
import { h } from "./dom.js";

const ROUTES = [
	["overview", /^\/(?:overview)?$/],
	["webhooks", /^\/webhooks$/],
	["webhook", /^\/webhooks\/(.+)$/],
	["deliveries", /^\/deliveries$/],
	["delivery", /^\/deliveries\/([^/]+)$/],
	["events", /^\/events$/],
	["event", /^\/events\/([^/]+)$/],
	["security", /^\/security$/],
];

let controller = new AbortController();
let visits = 0;

export function parseHash(hash) {
	const [path, search] = (hash.replace(/^#/, "") || "/").split(/\?(.*)/s);
	const query = Object.fromEntries(new URLSearchParams(search ?? ""));
	for (const [name, pattern] of ROUTES) {
		const match = pattern.exec(path);
		if (match) return { name, params: match.slice(1).map(decodeURIComponent), query };
	}
	return { name: null, params: [], query };
}

// "#/deliveries?status=failed"; empty values are left out.
export function link(path, query = {}) {
	const pairs = Object.entries(query).filter(([, value]) => value);
	return `#/${path.split("/").map(encodeURIComponent).join("/")}${pairs.length ? "?" + new URLSearchParams(pairs) : ""}`;
}

// Writes filters into the address without going anywhere.
export function remember(path, query) {
	history.replaceState(history.state, "", link(path, query));
}

export function leave() {
	controller.abort();
	controller = new AbortController();
}

function missing(root) {
	root.replaceChildren(h("h1", { tabindex: "-1" }, "Not found"),
		h("p", {}, "There is no such page. ", h("a", { href: "#/" }, "To the overview")));
}

// Begins to fetch the page that the address names.
export function prepare() {
	const { name } = parseHash(location.hash);
	if (name) import(`./pages/${name}.js`).catch(() => {});
}

// Shows the page that the address names in ROOT.
export async function visit(root, onPage) {
	leave();
	const { signal } = controller;
	const { name, params, query } = parseHash(location.hash);
	onPage(name);
	const page = name ? await import(`./pages/${name}.js`) : { mount: missing, title: "Not found" };
	if (signal.aborted) return;
	document.title = `${page.title} · NTRVSTA webhooks`;
	root.replaceChildren();
	if (history.state?.list === undefined) window.scrollTo(0, 0);
	page.mount(root, { params, query, signal });
	if (visits++) root.querySelector("h1")?.focus({ preventScroll: true });
}
