// Dialogs: one at a time, closed by Escape, focus goes back to where it was.
import { h } from "./dom.js";

// Opens a dialog of TITLE; BODY and FOOT are nodes. Returns the element; `onClose` is called once it is gone.
export function openDialog(title, body, foot, { onClose, wide } = {}) {
	const before = document.activeElement;
	const close = () => dialog.close();
	const head = h("h2", { id: `dialog-${Date.now()}` }, title);
	const dialog = h("dialog", { "aria-labelledby": head.id, class: wide ? "wide-dialog" : null, onclose: () => {
		dialog.remove();
		if (before?.isConnected) before.focus();
		onClose?.();
	} }, h("article", {}, h("header", {}, head, h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: close }, "✕")), body, foot ? h("footer", {}, foot) : null));
	document.body.append(dialog);
	dialog.showModal();
	dialog.querySelector("[autofocus], form input:not([type=hidden]), form select, form textarea, footer button")?.focus();
	return dialog;
}

export function cancelButton(text = "Cancel") {
	return h("button", { type: "button", class: "secondary outline", onclick: (e) => e.target.closest("dialog").close() }, text);
}

// Puts the field errors of a Problem beside the fields of FORM by their names, the rest into .form-error.
export function showProblems(form, problem) {
	for (const old of form.querySelectorAll(".field-error")) old.remove();
	for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
	const general = form.querySelector(".form-error");
	const rest = [];
	for (const { field, message } of problem?.errors ?? []) {
		const input = form.querySelector(`[name="${CSS.escape(field.replace(/[[.].*/, ""))}"]`);
		if (!input) {
			rest.push(`${field}: ${message}`);
			continue;
		}
		const id = `error-${field.replace(/\W/g, "-")}`;
		input.setAttribute("aria-invalid", "true");
		input.setAttribute("aria-describedby", id);
		(input.closest("label, fieldset") ?? input).append(h("small", { id, class: "error field-error" }, message.charAt(0).toUpperCase() + message.slice(1)));
	}
	general.textContent = problem && (rest.length || !problem.errors.length) ? rest.join(" ") || problem.message : "";
	form.querySelector("[aria-invalid]")?.focus();
}

// A dialog around a form. WORK(form, dialog) does what is asked for and throws Problem.
export function formDialog(title, fields, { submit, work, danger, wide }) {
	const button = h("button", { type: "submit", class: danger ? "danger" : null }, submit);
	const form = h("form", { novalidate: true, onsubmit: async (e) => {
		e.preventDefault();
		if (button.hasAttribute("aria-busy") || !form.reportValidity()) return;
		button.setAttribute("aria-busy", "true");
		showProblems(form, null);
		try {
			await work(form, dialog);
		} catch (problem) {
			showProblems(form, problem);
		} finally {
			button.removeAttribute("aria-busy");
		}
	} }, fields, h("p", { class: "error form-error", role: "alert" }), h("footer", {}, cancelButton(), button));
	const dialog = openDialog(title, form, null, { wide });
	return dialog;
}
