// Small things that several pages show: states, figures, copy buttons, empty states.
import { h } from "./dom.js";
import { notify } from "./notice.js";

const STATES = {
	pending: ["wait", "Waiting"], running: ["run", "Running"], success: ["ok", "Success"], failed: ["bad", "Failed"],
	canceled: ["idle", "Canceled"], waiting: ["wait", "Waiting"], new: ["wait", "New"], unhandled: ["idle", "No target"],
	active: ["ok", "Active"], inactive: ["idle", "Inactive"], gone: ["bad", "Gone (410)"], failing: ["bad", "Switched off: failing"],
};

// A coloured mark and a word: the colour never says it alone.
export function state(name, title) {
	const [kind, text] = STATES[name] ?? ["idle", name];
	return h("span", { class: `state ${kind}`, title }, text);
}

export function webhookState(webhook) {
	if (webhook.active) return state("active");
	if (!webhook.inactive_reason) return state("inactive");
	if (webhook.kind === "handler") return h("span", { class: "state bad", title: webhook.inactive_reason }, "Does not run");
	return state(webhook.inactive_reason);
}

const whole = new Intl.NumberFormat(undefined);

export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));
// Rounded down: 100 % is all of them.
export const percent = (n) => (n === null || n === undefined ? "–" : `${n === 0 || n === 100 ? n : (Math.floor(n * 10) / 10).toFixed(1)} %`);
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const size = (bytes) => (bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1048576).toFixed(1)} MB`);

async function toClipboard(text, near) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		// Without HTTPS there is no clipboard; the old way works everywhere.
		const area = h("textarea", { class: "away", "aria-hidden": "true", value: text });
		near.append(area);
		area.select();
		document.execCommand("copy");
		area.remove();
	}
}

// TEXT may be a function.
export function copyButton(text, label = "Copy") {
	const button = h("button", { type: "button", class: "small outline secondary", onclick: async () => {
		await toClipboard(typeof text === "function" ? text() : text, button.parentNode);
		button.focus();
		notify("Copied.");
	} }, label);
	return button;
}

export const idLine = (id) => h("span", { class: "id" }, h("code", {}, id), copyButton(id));

// What is not there yet, and what to do about it.
export function empty(title, ...advice) {
	return h("div", { class: "empty" }, h("h2", {}, title), advice.map((part) => (part.nodeType === 1 && part.tagName !== "CODE" ? part : h("p", {}, part))));
}

export const command = (text) => h("div", { class: "command" }, h("code", {}, text), copyButton(text));

export function facts(rows) {
	return h("dl", { class: "facts" }, rows.filter(Boolean).map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value ?? "–"))));
}

export function heading(text, ...actions) {
	return h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, text), h("div", { class: "actions" }, actions.filter(Boolean)));
}

export const crumb = (href, text) => h("nav", { class: "crumb", "aria-label": "Up" }, h("a", { href }, `‹ ${text}`));

export function callout(kind, ...content) {
	return h("div", { class: `callout ${kind}`, key: "callout" }, content);
}
