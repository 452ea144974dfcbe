// The rows of an endless list, newest first, as pages of the API bring them: which are new, changed or gone.
// Rows have ids that sort by time. Nothing here touches the screen.

// {rows, pages: [{cursor, end}], more}: `end` is the id of a page's last row.
export const noRows = () => ({ rows: [], pages: [], next: null, more: false, loaded: false });

function merge(list, page, above, below) {
	const fresh = new Map(page.map((row) => [row.id, row]));
	const kept = list.rows.filter((row) => !fresh.has(row.id) && !(row.id < above && row.id >= below));
	list.rows = [...kept, ...page].sort((a, b) => (a.id < b.id ? 1 : -1));
}

const last = (array) => array[array.length - 1];

// Is there a gap between what ANSWER holds and what the list has?
export function gapBefore(list, answer) {
	return list.rows.length > 0 && answer.has_more && last(answer.data).id > list.rows[0].id;
}

// How many rows of ANSWER, the first page asked for again, are newer than all of the list.
export function newerThan(list, answer) {
	return list.rows.length ? answer.data.filter((row) => row.id > list.rows[0].id).length : answer.data.length;
}

// The first page, in place of everything.
export function restart(list, answer) {
	Object.assign(list, { rows: answer.data, next: answer.next_cursor, more: answer.has_more, loaded: true });
	list.pages = [{ cursor: null, end: last(answer.data)?.id ?? "" }];
}

// One page more.
export function append(list, cursor, answer) {
	const above = last(list.pages)?.end ?? "\uffff";
	merge(list, answer.data, above, answer.has_more ? last(answer.data)?.id ?? "" : "");
	list.pages.push({ cursor, end: last(answer.data)?.id ?? "" });
	list.next = answer.next_cursor;
	list.more = answer.has_more;
}

// Page number I asked for again. What was in its place and is not in the answer is gone.
export function renew(list, i, answer, withNew) {
	let above = i ? list.pages[i - 1].end : "\uffff";
	let data = answer.data;
	if (!i && !withNew && list.rows.length) {
		above = list.rows[0].id + "\uffff";
		data = data.filter((row) => row.id <= list.rows[0].id);
	}
	merge(list, data, above, answer.has_more ? last(answer.data)?.id ?? "" : "");
	if (i === list.pages.length - 1 && !answer.has_more) {
		list.more = false;
		list.next = null;
	}
}
