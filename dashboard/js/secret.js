// A new secret, shown once, with how a receiver verifies the calls in four languages.
import { h } from "./dom.js";
import { openDialog } from "./dialog.js";
import { copyButton } from "./parts.js";
import { LANGUAGES, snippet } from "./snippets.js";

function tabs(names, label, onChoose) {
	return h("fieldset", { class: "tabs", "aria-label": label }, names.map((name, i) => h("button", { type: "button", class: "tab", "aria-pressed": String(i === 0), onclick: (e) => {
		for (const tab of e.target.parentNode.children) tab.setAttribute("aria-pressed", String(tab === e.target));
		onChoose(name);
	} }, name)));
}

// Code of a receiver, to choose by language and by header.
export function verification() {
	const chosen = { language: LANGUAGES[0], scheme: "webhook-signature" };
	const code = h("code", {});
	const write = () => { code.textContent = snippet(chosen.language, chosen.scheme); };
	write();
	return h("section", { class: "verify" },
		h("div", { class: "card-head" }, h("h3", {}, "Verify the calls"), copyButton(() => code.textContent, "Copy code")),
		tabs(LANGUAGES, "Language", (language) => { chosen.language = language; write(); }),
		tabs(["webhook-signature", "X-NTRVSTA-Signature"], "Header", (scheme) => { chosen.scheme = scheme; write(); }),
		h("pre", { tabindex: "0", "aria-label": "Code" }, code));
}

// WEBHOOK has `secret`: the one time that the server tells it.
export function showSecret(title, { secret }, advice) {
	const done = h("button", { type: "button", onclick: (e) => e.target.closest("dialog").close() }, "I have kept it");
	openDialog(title, h("div", {},
		h("p", {}, advice, " ", h("b", {}, "It is shown this once: the server never tells it again.")),
		h("div", { class: "secret" }, h("code", { "aria-label": "Secret" }, secret), Object.assign(copyButton(secret, "Copy secret"), { autofocus: true })),
		verification()), done, { wide: true });
}
