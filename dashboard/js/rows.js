// The rows of an endless list, newest first, as pages of the API bring them: which are new, changed or gone.
// Nothing here touches the screen.

const SPLIT = 50; // rows that may gather behind what a page's request brings, before they become a page

// {pages: [{cursor, rows}], next, more, loaded, searched}: SEARCHED is how far back the server looked.
export const noRows = () => ({ pages: [], next: null, more: false, loaded: false });

// All rows in order. A row that moved from one page to another is there once.
export function allRows(list) {
	const rows = new Map();
	for (const page of list.pages) {
		for (const row of page.rows) if (!rows.has(row.id)) rows.set(row.id, row);
	}
	return [...rows.values()];
}

const ids = (rows) => new Set(rows.map(({ id }) => id));

// Is there a gap between what ANSWER, the first page asked for again, holds and what the list has?
export function gapBefore(list, answer) {
	const known = ids(allRows(list));
	return known.size > 0 && answer.has_more && answer.data.length > 0 && !answer.data.some(({ id }) => known.has(id));
}

// How many rows of ANSWER come before all that the list has.
export function newerThan(list, answer) {
	const known = ids(allRows(list));
	const first = answer.data.findIndex(({ id }) => known.has(id));
	return first < 0 ? answer.data.length : first;
}

// The first page, in place of everything.
export function restart(list, answer) {
	Object.assign(list, { pages: [{ cursor: null, rows: answer.data }], next: answer.next_cursor, more: answer.has_more, loaded: true, searched: answer.searched_until });
}

// One page more.
export function append(list, cursor, answer) {
	list.pages.push({ cursor, rows: answer.data });
	Object.assign(list, { next: answer.next_cursor, more: answer.has_more, searched: answer.searched_until });
}

// What of OLD, the rows of a page, lies behind those that ANSWER tells of.
function behind(old, answer) {
	if (!answer.has_more) return [];
	if (!answer.data.length) return old;
	const end = old.findIndex(({ id }) => id === answer.data[answer.data.length - 1].id);
	return end < 0 ? [] : old.slice(end + 1);
}

// Page number I asked for again. What was in its place and is not in the answer is gone. Without WITHNEW, what
// comes before all others is left out.
export function renew(list, i, answer, withNew) {
	const page = list.pages[i];
	const tail = behind(page.rows, answer);
	const newer = i || withNew ? 0 : newerThan(list, answer);
	const fresh = newer < answer.data.length ? answer.data.slice(newer) : answer.data;
	if (tail.length >= SPLIT && answer.next_cursor) {
		page.rows = fresh;
		list.pages.splice(i + 1, 0, { cursor: answer.next_cursor, rows: tail });
	} else {
		page.rows = [...fresh, ...tail];
	}
	if (!answer.has_more) {
		list.pages.length = i + 1;
		Object.assign(list, { next: null, more: false });
	}
}
