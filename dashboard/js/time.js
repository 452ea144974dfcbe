// Times in the reader's zone, with UTC in the title; durations; relative times that keep up with the clock.
import { h } from "./dom.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dayClock = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const yearClock = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

const STEPS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

// "3 min", "2 d": the largest unit that fits.
export function span(seconds) {
	for (const [size, unit] of STEPS) {
		if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
	}
	return "0 s";
}

// "84 ms", "1.24 s", "2 min 5 s"; "–" for nothing.
export function duration(ms) {
	if (ms === null || ms === undefined) return "–";
	if (ms < 1000) return `${ms} ms`;
	if (ms < 10000) return `${(ms / 1000).toFixed(2)} s`;
	if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
	return `${Math.floor(ms / 60000)} min ${Math.round(ms % 60000 / 1000)} s`;
}

export function absolute(iso) {
	const date = new Date(iso);
	const now = new Date();
	if (date.toDateString() === now.toDateString()) return clock.format(date);
	return (date.getFullYear() === now.getFullYear() ? dayClock : yearClock).format(date);
}

export function relative(iso) {
	const seconds = (Date.now() - new Date(iso)) / 1000;
	if (Math.abs(seconds) < 1) return "now";
	return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

export const utc = (iso) => new Date(iso).toISOString().replace("T", " ").replace(/\.\d+Z|Z$/, "") + " UTC";

function element(iso, text, kind) {
	if (!iso) return h("span", { class: "none" }, "–");
	return h("time", { datetime: iso, title: utc(iso), "data-kind": kind }, text(iso));
}

// "14:03:22", with the day where it is not today.
export const at = (iso) => element(iso, absolute, null);
// "3 min ago", "in 20 s".
export const ago = (iso) => element(iso, relative, "ago");
// Both, for pages of one thing.
export const full = (iso) => (iso ? h("span", {}, at(iso), h("span", { class: "muted" }, " · ", ago(iso))) : at(null));

function tick() {
	if (document.hidden) return;
	for (const time of document.querySelectorAll("time[data-kind=ago]")) {
		const text = relative(time.dateTime);
		if (time.firstChild.data !== text) time.firstChild.data = text;
	}
}

setInterval(tick, 1000);

export const OLD_DAYS = 90; // a secret that is older had better be rotated

export const ageDays = (iso) => (Date.now() - new Date(iso)) / 86400000;

export const RANGES = { "1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days" };
const RANGE_SECONDS = { "1h": 3600, "24h": 86400, "7d": 604800, "30d": 2592000 };

export const sinceRange = (range) => new Date(Date.now() - RANGE_SECONDS[range] * 1000).toISOString();

// For <input type=datetime-local>, which knows no zone: the reader's.
export function toLocalInput(iso) {
	if (!iso) return "";
	const date = new Date(iso);
	return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

export const fromLocalInput = (text) => (text ? new Date(text).toISOString() : "");
