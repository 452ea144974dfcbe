// Sign in with an API key.
import { h } from "../dom.js";
import { signIn } from "../session.js";
import { command } from "../parts.js";

export const title = "Sign in";

async function submit(event, error, done) {
	event.preventDefault();
	const form = event.target;
	const button = form.querySelector("button[type=submit]");
	const input = form.elements.key;
	button.setAttribute("aria-busy", "true");
	error.textContent = "";
	input.removeAttribute("aria-invalid");
	try {
		await signIn(input.value.trim());
		input.value = "";
		done();
	} catch (problem) {
		error.textContent = problem.status === 401 ? "This key is not known, or was revoked." : problem.message;
		input.setAttribute("aria-invalid", "true");
		input.focus();
		input.select();
	} finally {
		button.removeAttribute("aria-busy");
	}
}

function showKey(event) {
	const input = event.target.form.elements.key;
	input.type = event.target.checked ? "text" : "password";
}

export function mount(root, { ended, done }) {
	document.title = `${title} · NTRVSTA webhooks`;
	const error = h("small", { id: "key-error", class: "error", role: "alert" });
	const input = h("input", { id: "key", name: "key", type: "password", required: true, autocomplete: "current-password",
		spellcheck: "false", autocapitalize: "off", placeholder: "ntr_…", "aria-describedby": "key-error" });
	root.replaceChildren(h("main", { class: "signin" },
		h("div", { class: "card" },
			h("div", { class: "brand" }, h("img", { src: "icon.svg", alt: "", width: 36, height: 36 }), h("span", {}, "NTRVSTA webhooks")),
			h("h1", {}, "Sign in"),
			ended ? h("p", { class: "callout wait", role: "status" }, "Your session has ended. Sign in again to go on where you were.") : null,
			h("form", { onsubmit: (e) => submit(e, error, done) },
				h("label", { for: "key" }, "API key"), input, error,
				h("label", { class: "check" }, h("input", { type: "checkbox", onchange: showKey }), "Show the key"),
				h("button", { type: "submit" }, "Sign in")),
			h("details", {}, h("summary", {}, "No key yet?"),
				h("p", {}, "Keys are made on the machine that receives the webhooks; each is shown once. Scope ", h("code", {}, "read"), " looks, ", h("code", {}, "write"), " also changes."),
				command("ntrvsta keys create --org default --scope write")))));
	input.focus();
}
