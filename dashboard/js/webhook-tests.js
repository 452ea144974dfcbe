// A test event with a body to edit, and the test of the connection, whose timings are drawn as a bar.
import { h, show, visible } from "./dom.js";
import { post, segment } from "./api.js";
import { cancelButton, formDialog, openDialog, showProblems } from "./dialog.js";
import { choice } from "./filters.js";
import { eventTypes } from "./known.js";
import { callout, facts, state } from "./parts.js";
import { duration } from "./time.js";

function outcome(attempt) {
	const code = attempt.status_code ? `HTTP status ${attempt.status_code}` : attempt.exit_code !== null ? `exit status ${attempt.exit_code}` : attempt.signal ? `signal ${attempt.signal}` : null;
	return h("div", { class: "result" }, facts([
		["Result", [state(attempt.status), code ? ` ${code}` : ""]], ["Took", duration(attempt.duration_ms)],
		attempt.error_message && attempt.error_message !== code ? ["Error", visible(attempt.error_message)] : null,
		["Delivery", h("a", { href: `#/deliveries/${attempt.delivery_id}` }, attempt.delivery_id)],
	]), attempt.output ? h("pre", { tabindex: "0", "aria-label": "Output" }, h("code", {}, visible(attempt.output))) : null);
}

function parseBody(text) {
	let data;
	try {
		data = JSON.parse(text || "{}");
	} catch (error) {
		throw Object.assign(new Error(error.message), { errors: [{ field: "testData", message: `Not JSON: ${error.message}` }] });
	}
	if (data === null || typeof data !== "object" || Array.isArray(data)) throw Object.assign(new Error(), { errors: [{ field: "testData", message: "Has to be an object: { … }" }] });
	return data;
}

export async function testDialog(webhook) {
	const types = await eventTypes().catch(() => []);
	const sampleOf = (name) => JSON.stringify(types.find((type) => type.name === name)?.sample?.data ?? {}, null, 2);
	const first = webhook.events.find((name) => types.some((type) => type.name === name)) ?? types[0]?.name ?? "session.completed";
	const event = choice("event", "Event", types.map(({ name }) => [name, name]), first);
	const body = h("textarea", { name: "testData", rows: 10, spellcheck: "false", class: "code", value: sampleOf(first) });
	const result = h("div", { role: "status", class: "test-result" });
	event.querySelector("select").onchange = (e) => { body.value = sampleOf(e.target.value); };
	formDialog("Send test event", [
		h("p", { class: "muted" }, "One attempt, made at once. It is marked as a test, not repeated and counted nowhere."),
		event, h("label", {}, "Data", body), result,
	], { submit: "Send", wide: true, work: async (form) => {
		show(result);
		const attempt = await post(`webhooks/${segment(webhook.id)}/test`, { event: form.elements.event.value, testData: parseBody(body.value) });
		showProblems(form, null);
		show(result, outcome(attempt));
		result.scrollIntoView({ block: "nearest" });
	} });
}

const PHASES = [["dns", "Look-up"], ["connect", "Connection"], ["tls", "TLS"], ["wait", "Answer"]];

// One bar, its parts as long as they took.
function timings(result) {
	const ms = { dns: result.dns_ms, connect: result.connect_ms, tls: result.tls_ms };
	ms.wait = Math.max(0, result.total_ms - ms.dns - ms.connect - ms.tls);
	const bar = h("div", { class: "timing", "aria-hidden": "true" }, PHASES.map(([name]) => h("span", { class: `phase ${name}` })));
	PHASES.forEach(([name], i) => { bar.children[i].style.flexGrow = ms[name]; });
	return h("div", {}, bar, h("dl", { class: "phases" }, PHASES.map(([name, text]) =>
		h("div", {}, h("dt", {}, h("i", { class: `swatch ${name}` }), text), h("dd", {}, duration(ms[name])))),
		h("div", { class: "total" }, h("dt", {}, "In all"), h("dd", {}, duration(result.total_ms)))));
}

export function connectivityDialog(webhook) {
	const result = h("div", { role: "status", "aria-busy": "true" }, "Connecting …");
	const again = h("button", { type: "button", onclick: () => run() }, "Test again");
	openDialog("Connectivity", h("div", {}, h("p", { class: "muted break" }, `HEAD ${webhook.url}`), result), [cancelButton("Close"), again]);
	async function run() {
		again.disabled = true;
		result.setAttribute("aria-busy", "true");
		try {
			const answer = await post(`webhooks/${segment(webhook.id)}/test-connectivity`);
			show(result, answer.success ? callout("ok", `It answers, with status ${answer.status_code}.`) : callout("bad", "No answer: ", visible(answer.error ?? "")), timings(answer));
		} catch (problem) {
			show(result, callout("bad", problem.message));
		}
		result.removeAttribute("aria-busy");
		again.disabled = false;
	}
	run();
}
