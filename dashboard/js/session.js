// Who is signed in. The key goes to the server once and is kept nowhere in the page: a cookie that scripts
// can't read stands for it.
import { request, setCsrf } from "./api.js";

const SCOPES = ["read", "write", "admin"];
let session = null;

function keep(answer) {
	session = answer;
	setCsrf(answer?.csrf ?? "");
	return answer;
}

export const current = () => session;

// May the session do what needs SCOPE?
export const may = (scope) => session !== null && SCOPES.indexOf(session.scope) >= SCOPES.indexOf(scope);

// The session that the cookie stands for, or null.
export async function resume() {
	try {
		return keep(await request("GET", "session"));
	} catch (problem) {
		if (problem.status === 401) return keep(null);
		throw problem;
	}
}

export const signIn = async (key) => keep(await request("POST", "session", { body: { key } }));

export async function signOut() {
	await request("DELETE", "session");
	keep(null);
}

export function forget() {
	keep(null);
}
