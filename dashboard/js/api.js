// Calls of the management API and of the session, with what can go wrong: problem+json, an ended session,
// a server that does not answer.

const listeners = { lost: [], back: [], ended: [] };
let csrf = "";
let lost = false;

// "lost"(message): the server does not answer; "back": it does again; "ended": the session is over.
export function listen(name, call) {
	listeners[name].push(call);
}

function tell(name, ...what) {
	for (const call of listeners[name]) call(...what);
}

export function setCsrf(token) {
	csrf = token;
}

// `code` is the API's, or "lost"; `errors` has [{field, message}].
export class Problem extends Error {
	constructor(status, body) {
		super(body.detail || body.title || `The server answered ${status}.`);
		this.status = status;
		this.code = body.code ?? "";
		this.errors = body.errors ?? [];
	}
}

// Tells that the server does not answer as it should, and throws.
export function lose(message) {
	lost = true;
	tell("lost", message);
	throw new Problem(0, { detail: message, code: "lost" });
}

function found() {
	if (lost) {
		lost = false;
		tell("back");
	}
}

// undefined for what is left out; arrays and objects have no place in a query.
export function query(parameters) {
	const pairs = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
	return pairs.length ? "?" + new URLSearchParams(pairs) : "";
}

async function fetchOrLose(path, options) {
	try {
		return await fetch(path, options);
	} catch (error) {
		if (error.name === "AbortError") throw error;
		return lose("The server does not answer.");
	}
}

async function refuse(response, path) {
	const type = response.headers.get("Content-Type") ?? "";
	// A web server whose program is gone answers with a page of its own.
	if (!type.includes("json")) {
		if (response.status >= 500) lose(`The server answers with status ${response.status}.`);
		throw new Problem(response.status, {});
	}
	const body = await response.json();
	if (response.status === 503 && body.code !== "dispatcher_not_running") lose(body.detail);
	if (response.status === 401 && !path.startsWith("session")) tell("ended");
	throw new Problem(response.status, body);
}

async function call(method, path, { body, signal }) {
	const headers = { Accept: "application/json" };
	if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
	if (body !== undefined) headers["Content-Type"] = "application/json";
	else if (method === "POST") body = null;
	const response = await fetchOrLose(path, {
		method, headers, signal, credentials: "same-origin", cache: "no-store",
		// An empty body makes browsers send the length that some web servers ask for.
		body: body === undefined ? undefined : body === null ? "" : JSON.stringify(body),
	});
	if (!response.ok) await refuse(response, path);
	found();
	return response.status === 204 ? null : response.json();
}

// The parsed answer, null where there is none. Throws Problem, or AbortError after SIGNAL.
export async function request(method, path, { body, signal } = {}) {
	try {
		return await call(method, path, { body, signal });
	} catch (problem) {
		if (problem.code !== "csrf" || path === "session") throw problem;
	}
	// Somebody signed in again in another tab, and the cookie stands for that session now.
	setCsrf((await call("GET", "session", { signal })).csrf);
	return call(method, path, { body, signal });
}

// Ids in paths: a handler's name has slashes, which stand as they are.
export function segment(id) {
	return id.split("/").map(encodeURIComponent).join("/");
}

export const get = (path, parameters = {}, signal) => request("GET", `../v1/${path}${query(parameters)}`, { signal });
export const post = (path, body, signal) => request("POST", `../v1/${path}`, { body, signal });
export const patch = (path, body) => request("PATCH", `../v1/${path}`, { body });
export const remove = (path) => request("DELETE", `../v1/${path}`);
