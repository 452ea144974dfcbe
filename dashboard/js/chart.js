// Counts over time as bars and lines (uPlot), with a legend that tells what is under the pointer and the same
// as a table.
import { h, show } from "./dom.js";
import { count } from "./parts.js";

const HEIGHT = 220;
let library = null;

// uPlot comes when a chart is first drawn, so that other pages don't wait for it.
function loadLibrary() {
	library ??= new Promise((resolve, reject) => {
		document.head.append(h("link", { rel: "stylesheet", href: "vendor/uPlot.min.css" }));
		const script = h("script", { src: "vendor/uPlot.iife.min.js" });
		script.addEventListener("load", () => resolve(window.uPlot));
		script.addEventListener("error", reject);
		document.head.append(script);
	});
	return library;
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" });
const dayClock = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

function when(seconds, bucket) {
	const time = new Date(seconds * 1000);
	return (bucket >= 86400 ? date : bucket >= 3600 ? dayClock : clock).format(time);
}

function tick(seconds, step) {
	const time = new Date(seconds * 1000);
	if (step >= 86400) return date.format(time);
	return time.getHours() + time.getMinutes() === 0 ? day.format(time) : clock.format(time);
}

function seriesOptions(uPlot, { label, color: name, line }) {
	const paint = () => color(name);
	if (line) return { label, stroke: paint, width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } };
	return { label, fill: paint, stroke: paint, width: 0, paths: uPlot.paths.bars({ size: [0.72, 28], align: 1, radius: 0.12 }), points: { show: false } };
}

function axis(options) {
	return { stroke: () => color("--muted"), font: "12px system-ui, sans-serif", ticks: { show: false }, grid: { stroke: () => color("--line"), width: 1 }, ...options };
}

function plotOptions(uPlot, data, width, onPoint) {
	return {
		width, height: HEIGHT, legend: { show: false }, padding: [8, 20, 0, 0],
		cursor: { y: false, drag: { setScale: false }, points: { show: false } },
		scales: { x: { range: (u, from, to) => [from, to] }, y: { range: (u, from, to) => [0, Math.max(4, to * 1.08)] } },
		series: [{}, ...data.series.map((series) => seriesOptions(uPlot, series))],
		axes: [axis({ grid: { show: false }, space: 64, size: 30, values: (u, ticks, i, space, step) => ticks.map((t) => tick(t, step)) }),
			axis({ size: 44, space: 40, values: (u, ticks) => ticks.map((t) => (Number.isInteger(t) ? count(t) : "")) })],
		hooks: { setCursor: [(u) => onPoint(u.cursor.idx)] },
	};
}

// Bars stand on each other: each is drawn as the sum of those below, tallest first.
function columns({ times, series, bucket }) {
	let sum = times.map(() => 0);
	const drawn = new Map();
	for (const one of [...series].reverse()) {
		if (one.line) drawn.set(one, one.values);
		else drawn.set(one, sum = sum.map((below, i) => below + one.values[i]));
	}
	// One point more ends the last step of the lines.
	return [[...times, times[times.length - 1] + bucket], ...series.map((one) => [...drawn.get(one), one.line ? one.values[one.values.length - 1] : null])];
}

function legend({ times, series, bucket, label }, i) {
	const sum = (values) => values.reduce((a, b) => a + b, 0);
	return [h("b", {}, i === null ? label : when(times[i], bucket)),
		series.map((one) => h("span", { class: "series" }, h("i", { class: `swatch ${one.color.slice(2)}` }), `${one.label} `,
			h("b", {}, count(i === null ? sum(one.values) : one.values[i]))))];
}

function table({ times, series, bucket }) {
	return h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "From"), series.map(({ label }) => h("th", { scope: "col", class: "number" }, label)))),
		h("tbody", {}, times.map((time, i) => h("tr", {}, h("th", { scope: "row" }, when(time, bucket)), series.map(({ values }) => h("td", { class: "number" }, count(values[i])))))));
}

// DATA: {label, bucket (seconds), times (in seconds), series: [{label, color: "--name", values, line}]}. The
// first of the bars stands on top.
export function timeChart(data) {
	let plot = null;
	let point = null;
	const caption = h("figcaption", {}, legend(data, null));
	const area = h("div", { class: "plot", role: "img", "aria-label": `Chart: ${data.series.map(({ label }) => label).join(", ")} over time. The table below has the figures.` });
	const rows = h("details", { class: "figures", ontoggle: () => fill() }, h("summary", {}, "As a table"), h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "Figures" }));
	const fill = () => rows.open && show(rows.lastChild, table(data));
	const pointAt = (i) => {
		point = typeof i === "number" ? Math.min(i, data.times.length - 1) : null;
		show(caption, legend(data, point));
	};
	const draw = async () => {
		const uPlot = await loadLibrary();
		if (!figure.isConnected || plot) return;
		plot = new uPlot(plotOptions(uPlot, data, area.clientWidth, pointAt), columns(data), area);
		new ResizeObserver(() => plot.setSize({ width: area.clientWidth, height: HEIGHT })).observe(area);
		matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
	};
	const figure = h("figure", { class: "chart", refresh(newer) {
		if (JSON.stringify(newer.data) === JSON.stringify(data)) return;
		const shape = (d) => d.series.map(({ label, color }) => label + color).join();
		const redo = shape(newer.data) !== shape(data);
		Object.assign(data, newer.data);
		if (redo && plot) {
			plot.destroy();
			plot = null;
			draw();
		} else {
			plot?.setData(columns(data));
		}
		pointAt(point);
		fill();
	} }, caption, area, rows);
	figure.data = data;
	requestAnimationFrame(() => figure.isConnected && draw());
	return figure;
}

// From the API's buckets: {times, of(name)}.
export function bucketColumns(buckets) {
	return { times: buckets.map(({ start }) => new Date(start) / 1000), of: (name) => buckets.map((bucket) => bucket[name]) };
}
