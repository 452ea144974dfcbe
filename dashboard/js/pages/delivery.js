// One delivery: what became of it, each attempt with output or request and answer, and what can be done.
import { h, show, visible } from "../dom.js";
import { get, post } from "../api.js";
import { liveView } from "../live.js";
import { link } from "../router.js";
import { may } from "../session.js";
import { attempt as tryTo } from "../notice.js";
import { ago, duration, full } from "../time.js";
import { callout, copyButton, count, crumb, facts, heading, idLine, state } from "../parts.js";
import { knownWebhooks, targetName } from "../known.js";

export const title = "Delivery";

function code(attempt) {
	if (attempt.status_code !== null) return `HTTP status ${attempt.status_code}`;
	if (attempt.exit_code !== null) return `exit status ${attempt.exit_code}`;
	return attempt.signal !== null ? `signal ${attempt.signal}` : null;
}

function block(label, text, note, titled = true) {
	return h("div", { class: "block", key: label }, h("div", { class: "card-head" }, h(titled ? "h3" : "span", {}, titled ? label : null, note ? h("span", { class: "muted small" }, ` ${note}`) : null), copyButton(text)),
		h("pre", { tabindex: "0", "aria-label": label }, h("code", {}, visible(text))));
}

const headerLines = (headers) => headers.map(({ name, value }) => `${name}: ${value}`).join("\n");

// What is kept where the webhook's log is detailed.
function exchange({ request, response }, newest) {
	const cut = response?.headers_cut || response?.body_cut;
	return h("details", { key: "exchange", open: newest }, h("summary", {}, "Request and answer"),
		request ? block("Request", `${request.request_line}\n${headerLines(request.headers)}`, "the body is the event’s") : null,
		response ? block("Answer", `${response.status_line}\n${headerLines(response.headers)}\n\n${response.body}`.trimEnd(), cut ? "the beginning; the rest was cut" : "") : null);
}

function outcome(attempt, kind, newest) {
	if (attempt.response || attempt.request) return exchange(attempt, newest);
	if (!attempt.output) return null;
	const label = kind === "handler" ? "Output" : "Answer";
	return h("details", { key: "output", open: newest }, h("summary", {}, label),
		block(label, attempt.output, attempt.output_cut ? (kind === "handler" ? "the end; the rest was cut" : "the beginning; the rest was cut") : "", false));
}

// A bar as long as the attempt took, beside the longest.
function lengthBar(attempt, longest) {
	const bar = h("span", { class: `length ${attempt.status === "failed" ? "bad" : "ok"}` });
	bar.style.width = `${Math.max(1, 100 * (attempt.duration_ms ?? 0) / longest)}%`;
	return h("div", { class: "lengths", "aria-hidden": "true", key: "bar" }, h("div", { key: attempt.duration_ms }, bar));
}

// NUMBER counts all of them; where the delivery began anew, the attempt's own number begins at 1 again.
function attemptView(attempt, number, longest, kind, newest) {
	const result = code(attempt);
	const said = attempt.error_message?.startsWith(result ?? "");
	return h("li", { class: "card attempt", key: `${attempt.started_at} ${attempt.attempt}` },
		h("div", { class: "attempt-head" }, h("h3", {}, `Attempt ${number}`, attempt.attempt === number ? null : h("span", { class: "muted small" }, ` ${attempt.attempt} since it began anew`)), state(attempt.status === "pending" ? "running" : attempt.status),
			result && !said ? h("code", {}, result) : null, h("span", { class: "muted right" }, full(attempt.started_at))),
		attempt.duration_ms === null ? null : h("div", { class: "took" }, lengthBar(attempt, longest), h("span", { class: "number" }, duration(attempt.duration_ms))),
		attempt.error_message ? h("p", { class: "error break" }, visible(attempt.error_message), attempt.error_code ? h("code", { class: "sub" }, attempt.error_code) : null) : null,
		outcome(attempt, kind, newest));
}

function summary(delivery, known) {
	const waits = delivery.status === "pending";
	return h("section", { class: "card", key: "facts" }, facts([
		["Status", [state(delivery.status), delivery.test ? [" ", h("span", { class: "tag" }, "test")] : null]],
		waits ? ["Next try", delivery.held ? visible(delivery.held) : full(delivery.next_attempt_at)] : null,
		["Event", [h("a", { href: link(`events/${delivery.event_id}`) }, delivery.event), h("code", { class: "sub break" }, delivery.event_id)]],
		["Target", h("a", { class: "break", href: link(`webhooks/${delivery.webhook_id}`) }, targetName(delivery.webhook_id, known))],
		["Attempts", [count(delivery.attempts.length), delivery.attempts.length === delivery.attempt_count ? null : h("span", { class: "muted" }, ` ${count(delivery.attempt_count)} since it began anew`)]],
		["Created", full(delivery.created_at)],
		["Last change", full(delivery.updated_at)],
		["Id", idLine(delivery.id)],
	]));
}

function actions(delivery, again) {
	if (!may("write") || delivery.test) return [];
	const act = (text, path, done, kind) => h("button", { type: "button", class: kind, key: text, onclick: async (e) => {
		e.target.setAttribute("aria-busy", "true");
		await tryTo(() => post(`deliveries/${delivery.id}/${path}`), done);
		e.target.removeAttribute("aria-busy");
		again();
	} }, text);
	if (delivery.status === "pending") return [act("Try now", "retry", "It begins anew."), act("Cancel", "cancel", "Canceled.", "outline danger")];
	if (delivery.status === "running") return [];
	return [act(delivery.status === "success" ? "Deliver again" : "Retry", "retry", "It begins anew.", delivery.status === "success" ? "outline secondary" : null)];
}

function view(delivery, known) {
	const longest = Math.max(1, ...delivery.attempts.map(({ duration_ms: ms }) => ms ?? 0));
	const kind = delivery.webhook_id.startsWith("wh_") ? "webhook" : "handler";
	const newestFirst = [...delivery.attempts].reverse();
	return [
		delivery.status === "failed" && delivery.error_message ? callout("bad", "Given up: ", visible(delivery.error_message)) : null,
		summary(delivery, known),
		h("section", { key: "attempts" }, h("h2", {}, "Attempts"), newestFirst.length
			? h("ol", { class: "attempts", reversed: true }, newestFirst.map((attempt, i) => attemptView(attempt, newestFirst.length - i, longest, kind, i === 0)))
			: h("p", { class: "muted" }, "None yet. ", delivery.next_attempt_at ? ["The first is due ", ago(delivery.next_attempt_at), "."] : "")),
	];
}

export function mount(root, { params: [id], signal }) {
	const head = h("div", {}, heading(title));
	root.append(crumb("#/deliveries", "Deliveries"), head);
	let known = null;
	knownWebhooks().then((map) => { known = map; wake(); }).catch(() => {});
	const wake = liveView(root, signal, async () => {
		const delivery = await get(`deliveries/${encodeURIComponent(id)}`, {}, signal);
		show(head, heading(["Delivery of ", delivery.event], actions(delivery, () => wake())));
		return view(delivery, known);
	}, "There is no such delivery. Old ones are removed after the retention time.");
}
