// How old the signing secrets are, those of sources and those of webhooks, and which had better be rotated.
import { h } from "./dom.js";
import { command } from "./parts.js";
import { link } from "./router.js";
import { shortUrl } from "./known.js";
import { ageDays, ago, at, OLD_DAYS } from "./time.js";

const isOld = ({ live, until, created_at: made }) => live && !until && made && ageDays(made) > OLD_DAYS;

// The secrets that sign what goes to webhooks, in the shape of those of sources.
function ofWebhooks(webhooks) {
	return webhooks.filter(({ kind }) => kind === "webhook").flatMap((webhook) => webhook.secrets.map(({ created_at, expires_at: until }) =>
		({ name: shortUrl(webhook.url), href: link(`webhooks/${webhook.id}`), created_at, until, live: true })));
}

function word(secret) {
	if (!secret.live) return h("span", { class: "state idle" }, "Ended");
	return isOld(secret) ? h("span", { class: "state wait" }, "Rotate it") : h("span", { class: "state ok" }, "Live");
}

const made = ({ created_at: time }) => (time ? ago(time) : h("span", { class: "muted" }, "not known"));
const end = ({ until }) => (until ? at(until) : h("span", { class: "none" }, "no end"));

function row(secret) {
	return h("tr", {}, h("th", { scope: "row" }, secret.href ? h("a", { class: "clip", href: secret.href, title: secret.name }, secret.name) : secret.source,
		h("div", { class: "sub narrow" }, "made ", made(secret), secret.until ? [", until ", at(secret.until)] : null)),
		h("td", { class: "state-column" }, word(secret)), h("td", { class: "wide number" }, made(secret)), h("td", { class: "wide time" }, end(secret)));
}

function table(rows, label) {
	return h("table", { class: "secrets" }, h("caption", { class: "away" }, `Secrets by ${label.toLowerCase()}`),
		h("thead", {}, h("tr", {}, h("th", { scope: "col" }, label), h("th", { scope: "col", class: "state-column" }, "State"),
			h("th", { scope: "col", class: "wide number" }, "Made"), h("th", { scope: "col", class: "wide time" }, "Counts until"))),
		h("tbody", {}, rows.map(row)));
}

const nudge = () => h("div", { class: "callout wait nudge" },
	h("p", {}, `A source’s secret is older than ${OLD_DAYS} days. A new one counts beside it for a day, so that no call is lost while the platform is told:`),
	command("ntrvsta secret rotate --overlap 24h"));

// SOURCES are the API's secrets of sources, WEBHOOKS its list of webhooks.
export function secretsCard(sources, webhooks) {
	const own = ofWebhooks(webhooks);
	return h("section", { class: "card", key: "secrets" }, h("h2", {}, "Signing secrets"),
		sources.length ? table(sources, "Source") : null,
		sources.some(isOld) ? nudge() : null,
		own.length ? table(own, "Webhook") : null,
		sources.length + own.length ? null : h("p", { class: "muted" }, "None to be seen with this key."));
}
