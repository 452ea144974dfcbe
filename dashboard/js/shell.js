// What is around each page: navigation, who is signed in, the banner of a lost server.
import { h } from "./dom.js";
import { listen } from "./api.js";
import { current, signOut } from "./session.js";
import { absolute } from "./time.js";
import { notify } from "./notice.js";

const PAGES = [["", "Overview", ["overview"]], ["webhooks", "Webhooks", ["webhooks", "webhook"]],
	["deliveries", "Deliveries", ["deliveries", "delivery"]], ["events", "Events", ["events", "event"]],
	["security", "Security", ["security"]]];

async function leaveSession(onLeave) {
	try {
		await signOut();
		onLeave();
	} catch (problem) {
		notify(problem.message, "bad");
	}
}

// Builds the frame in APP; {main, mark(name of a route)} to show pages in it.
export function shell(app, onLeave) {
	const { org, scope } = current();
	const links = PAGES.map(([path, text, names]) => ({ names, a: h("a", { href: `#/${path}` }, text) }));
	const main = h("main", { class: "container", id: "main" });
	const skip = h("a", { class: "skip", href: "#main", onclick: (e) => { e.preventDefault(); main.querySelector("h1")?.focus(); } }, "Skip to content");
	app.replaceChildren(skip,
		h("header", { class: "top" }, h("div", { class: "container" },
			h("a", { class: "brand", href: "#/" }, h("img", { src: "icon.svg", alt: "", width: 26, height: 26 }), h("span", {}, "NTRVSTA", h("span", { class: "more-brand" }, " webhooks"))),
			h("nav", { "aria-label": "Pages" }, h("ul", {}, links.map(({ a }) => h("li", {}, a)))),
			h("div", { class: "who" },
				h("span", { class: "org", title: `Organisation ${org}, scope ${scope}` }, h("b", {}, org), h("span", { class: "muted" }, ` · ${scope}`)),
				h("button", { type: "button", class: "quiet", onclick: () => leaveSession(onLeave) }, "Sign out")))),
		main,
		h("footer", { class: "container foot" }, "ntrvsta-fcgi · made with Pico CSS and uPlot (", h("a", { href: "vendor/licences.txt" }, "licences"), ")"));
	const mark = (name) => links.forEach(({ names, a }) => {
		if (names.includes(name)) a.setAttribute("aria-current", "page");
		else a.removeAttribute("aria-current");
	});
	return { main, mark };
}

// Says in ELEMENT that the server is lost, until it is back.
export function lostBanner(element) {
	let since = null;
	listen("lost", (message) => {
		since ??= new Date().toISOString();
		const text = `${message} What you see is as of ${absolute(since)}. Trying again …`;
		if (element.textContent !== text) element.textContent = text;
	});
	listen("back", () => {
		since = null;
		element.textContent = "";
	});
}
