// What several pages need to name things: the webhooks, and the documented events. Asked for once, and again
// after changes.
import { get } from "./api.js";
import { visible } from "./dom.js";

let webhooks = null;
let types = null;

export async function knownWebhooks() {
	webhooks ??= get("webhooks", { limit: 250 }).then((page) => new Map(page.data.map((webhook) => [webhook.id, webhook])));
	try {
		return await webhooks;
	} catch (problem) {
		webhooks = null;
		throw problem;
	}
}

export function forgetWebhooks() {
	webhooks = null;
}

// [{name, description, sample}]
export async function eventTypes() {
	types ??= get("event-types").then((answer) => answer.data);
	try {
		return await types;
	} catch (problem) {
		types = null;
		throw problem;
	}
}

// "hooks.example.org/ats", or a handler's name.
export function targetName(id, known) {
	const webhook = known?.get(id);
	return webhook?.url ? shortUrl(webhook.url) : id;
}

export const shortUrl = (url) => visible(url).replace(/^https?:\/\//, "").replace(/\/$/, "");
