// A table that loads more while one scrolls, and keeps the rows on screen fresh without moving them.
import { h, morph, show } from "./dom.js";
import { get } from "./api.js";
import { live } from "./live.js";
import { allRows, append, gapBefore, newerThan, noRows, renew, restart } from "./rows.js";
import { callout, plural } from "./parts.js";

const AT_TOP_PX = 160;
const LIMIT = 50;
const PROBLEM_PAUSE_MS = 2000;
const kept = new Map(); // lists that the reader left, by a number in the history entry, for coming back
let lists = 0;

function headerRow(columns) {
	return h("tr", {}, columns.map(({ label, kind }) => h("th", { scope: "col", class: kind }, label)));
}

class List {
	// OPTIONS: path of the API, columns [{label, kind, cell(row)}], parameters(), caption, empty() when there is
	// nothing, foot(list) below the last row, signal.
	constructor(root, options) {
		Object.assign(this, options);
		this.elements = new Map();
		this.body = h("tbody");
		this.table = h("table", { class: "list" }, h("caption", { class: "away" }, this.caption), h("thead", {}, headerRow(this.columns)), this.body);
		this.wrap = h("div", { class: "table-wrap", hidden: true }, this.table);
		this.pill = h("button", { type: "button", class: "pill", hidden: true, onclick: () => this.toTop() });
		this.more = h("button", { type: "button", class: "outline secondary more", hidden: true, onclick: () => this.loadMore() }, "Load more");
		this.note = h("div", { class: "list-note" });
		show(this.note, h("p", { class: "muted center", "aria-busy": "true" }, "Loading …"));
		root.append(this.pill, this.wrap, this.note, this.more);
		this.watch = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && this.loadMore(), { rootMargin: "500px" });
		this.watch.observe(this.more);
		this.signal.addEventListener("abort", () => this.stop(root));
		this.resume();
		this.wake = live(() => this.update(), this.signal, (problem) => this.complain(problem));
	}

	resume() {
		const number = history.state?.list;
		const before = kept.get(number);
		this.number = before ? number : ++lists;
		this.list = before?.list ?? noRows();
		this.context = new AbortController();
		if (!before) return;
		this.draw();
		requestAnimationFrame(() => window.scrollTo(0, before.scroll));
	}

	// Notes where the reader was; the history entry's number finds it again.
	hold() {
		kept.set(this.number, { list: this.list, scroll: window.scrollY });
		history.replaceState({ list: this.number }, "");
	}

	stop(root) {
		this.watch.disconnect();
		this.context.abort();
		root.replaceChildren();
	}

	// After a change of filters: begin anew.
	reload() {
		this.context.abort();
		this.context = new AbortController();
		this.list = noRows();
		this.wrap.classList.add("stale");
		this.loading = false;
		this.wake();
	}

	fetch(cursor) {
		return get(this.path, { limit: LIMIT, ...this.parameters(), cursor }, this.context.signal);
	}

	atTop() {
		return window.scrollY < this.wrap.offsetTop + AT_TOP_PX || !this.list.loaded;
	}

	visiblePages() {
		const edge = (row) => this.elements.get(row?.id)?.tr.getBoundingClientRect();
		const inSight = ({ rows }) => {
			const [first, last] = [edge(rows[0]), edge(rows[rows.length - 1])];
			return first && last && last.bottom > 0 && first.top < innerHeight;
		};
		return this.list.pages.map((page, i) => (i && inSight(page) ? i : 0)).filter(Boolean);
	}

	async update() {
		const { list } = this;
		const answer = await this.fetch(null);
		if (list !== this.list) return;
		const anew = !list.loaded || (gapBefore(list, answer) && this.atTop());
		if (anew) restart(list, answer);
		else this.renewFirst(answer);
		for (const page of this.visiblePages().map((i) => list.pages[i])) {
			const again = await this.fetch(page.cursor);
			if (list !== this.list) return;
			const i = list.pages.indexOf(page);
			if (i > 0) renew(list, i, again, true);
		}
		this.draw();
		if (anew) this.watchAnew();
	}

	renewFirst(answer) {
		const newer = newerThan(this.list, answer);
		const show = this.atTop();
		if (gapBefore(this.list, answer)) {
			this.offer(newer, true);
			return;
		}
		renew(this.list, 0, answer, show);
		this.offer(show ? 0 : newer, false);
	}

	offer(newer, more) {
		this.pill.hidden = newer === 0;
		const text = `↑ ${newer}${more ? "+" : ""} new`;
		if (newer && this.pill.textContent !== text) this.pill.textContent = text;
	}

	toTop() {
		this.pill.hidden = true;
		window.scrollTo({ top: 0 });
		this.body.querySelector("a")?.focus({ preventScroll: true });
		this.wake();
	}

	async loadMore() {
		const { list } = this;
		if (this.loading || !list.more || !list.next) return;
		let pause = this.patience?.() ?? 0;
		this.loading = true;
		this.more.setAttribute("aria-busy", "true");
		try {
			const cursor = list.next;
			const answer = await this.fetch(cursor);
			if (list !== this.list) return;
			append(list, cursor, answer);
			this.draw();
		} catch (problem) {
			if (problem.name !== "AbortError") {
				pause = PROBLEM_PAUSE_MS;
				this.complain(problem);
			}
		} finally {
			this.loading = false;
			this.more.removeAttribute("aria-busy");
			setTimeout(() => this.watchAnew(), pause);
		}
	}

	// An observer tells of crossings only: of a button that stays in sight, or is in sight again by the next frame,
	// it tells when it is observed anew.
	watchAnew() {
		if (this.signal.aborted) return;
		this.watch.unobserve(this.more);
		this.watch.observe(this.more);
	}

	row(row) {
		const json = JSON.stringify(row) + (this.version?.() ?? "");
		let known = this.elements.get(row.id);
		if (known?.json === json) return known.tr;
		const tr = h("tr", { key: row.id, onclick: (e) => this.follow(e) }, this.columns.map(({ kind, cell }) => h("td", { class: kind }, cell(row))));
		if (known) morph(known.tr, tr);
		else this.elements.set(row.id, known = { tr });
		known.json = json;
		return known.tr;
	}

	// A click anywhere in a row is one on its first link, unless text is being selected.
	follow(event) {
		if (event.target.closest("a, button, input") || String(getSelection())) return;
		event.currentTarget.querySelector("a")?.click();
	}

	drop(keep) {
		for (const [id, { tr }] of this.elements) {
			if (keep.has(id)) continue;
			// The row that one is at stays, dimmed, until one leaves it.
			if (tr.contains(document.activeElement)) {
				tr.classList.add("gone");
				continue;
			}
			tr.remove();
			this.elements.delete(id);
		}
	}

	draw() {
		const { list } = this;
		if (!list.loaded) return;
		const first = !this.body.firstChild;
		const rows = allRows(list);
		this.drop(new Set(rows.map((row) => row.id)));
		let at = this.body.firstChild;
		for (const row of rows) {
			const known = this.elements.has(row.id);
			const tr = this.row(row);
			tr.classList.toggle("fresh", !known && !first);
			tr.classList.remove("gone");
			while (at && at !== tr && at.classList.contains("gone")) at = at.nextSibling;
			if (tr === at) at = at.nextSibling;
			else this.body.insertBefore(tr, at);
		}
		this.wrap.classList.remove("stale");
		this.wrap.hidden = rows.length === 0;
		this.more.hidden = !list.more;
		show(this.note, rows.length ? null : this.empty(list.more), this.foot?.(list));
	}

	complain(problem) {
		show(this.note, callout("bad", problem.message, problem.errors.length ? ` ${plural(problem.errors.length, "field")}: ${problem.errors.map((e) => `${e.field} ${e.message}`).join("; ")}` : ""));
	}
}

export function endlessList(root, options) {
	return new List(root, options);
}
