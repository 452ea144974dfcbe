// Where it begins: resumes the session, then shows the page that the address names, or the sign-in page.
import { listen } from "./api.js";
import { forget, resume } from "./session.js";
import { leave, prepare, visit } from "./router.js";
import { lostBanner, shell } from "./shell.js";
import { h } from "./dom.js";

const AGAIN_MS = 2000;
const app = document.getElementById("app");
let root = null;
let again = 0; // the timer of a page that is shown once the server is back

async function signInPage(ended) {
	leave();
	root = null;
	for (const dialog of document.querySelectorAll("dialog")) dialog.close();
	const page = await import("./pages/signin.js");
	page.mount(app, { ended, done: enter });
}

function enter() {
	root = shell(app, () => signInPage(false));
	go();
}

function go() {
	clearTimeout(again);
	if (root) visit(root.main, root.mark).catch(failed);
}

function failed(problem) {
	if (problem.name === "AbortError") return;
	if (problem.code === "lost") {
		again = setTimeout(go, AGAIN_MS);
		return;
	}
	root.main.replaceChildren(h("h1", { tabindex: "-1" }, "Something is wrong"), h("p", {}, problem.message));
}

async function start() {
	try {
		if (await resume()) enter();
		else await signInPage(false);
	} catch {
		// The banner says that the server is lost; begin again when it is back.
		setTimeout(start, AGAIN_MS);
	}
}

lostBanner(document.getElementById("banner"));
listen("ended", () => {
	if (!root) return;
	forget();
	signInPage(true);
});
addEventListener("hashchange", go);
prepare();
start();
