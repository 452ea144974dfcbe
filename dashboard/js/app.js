// Where it begins: resumes the session, then shows the page that the address names, or the sign-in page.
import { listen } from "./api.js";
import { forget, resume } from "./session.js";
import { leave, prepare, visit } from "./router.js";
import { lostBanner, shell } from "./shell.js";
import { h } from "./dom.js";

const app = document.getElementById("app");
let root = null;

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
	if (root) visit(root.main, root.mark).catch(failed);
}

function failed(problem) {
	if (problem.name === "AbortError" || problem.code === "lost") return;
	root.main.replaceChildren(h("h1", { tabindex: "-1" }, "Something is wrong"), h("p", {}, problem.message));
}

async function start() {
	try {
		if (await resume()) enter();
		else await signInPage(false);
	} catch {
		// The banner says that the server is lost; begin again when it is back.
		setTimeout(start, 2000);
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
