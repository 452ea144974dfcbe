// Which page the hash names: "#/deliveries/dlv_x?status=failed". One file a page, fetched when first needed.
// A page is mount(root, context) with context {params, query, signal}; SIGNAL aborts when the reader leaves.
import { lose } from "./api.js";
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

// A file that does not come is no fault of the page's: the server is lost. Browsers may keep in mind that an
// address failed, so that another one is asked for.
let tries = 0;

async function load(name) {
	try {
		return await import(`./pages/${name}.js${tries ? `?${tries}` : ""}`);
	} catch (problem) {
		if (!/module/i.test(problem.message)) throw problem;
		tries++;
		return lose("The server does not answer.");
	}
}

// Shows the page that the address names in ROOT. Throws Problem where the server is lost.
export async function visit(root, onPage) {
	leave();
	const { signal } = controller;
	const { name, params, query } = parseHash(location.hash);
	onPage(name);
	const page = name ? await load(name) : { mount: missing, title: "Not found" };
	if (signal.aborted) return;
	document.title = `${page.title} · NTRVSTA webhooks`;
	root.replaceChildren();
	if (history.state?.list === undefined) window.scrollTo(0, 0);
	page.mount(root, { params, query, signal });
	if (visits++) root.querySelector("h1")?.focus({ preventScroll: true });
}
