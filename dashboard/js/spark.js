// A small chart of attempts for a row of a table: bars, with the failed part in red.
import { svg } from "./dom.js";

const WIDTH = 96;
const HEIGHT = 22;

export function sparkline(buckets) {
	const most = Math.max(1, ...buckets.map(({ attempts }) => attempts));
	const step = WIDTH / Math.max(1, buckets.length);
	const bar = (i, from, value, kind) => {
		const height = value ? Math.max(1.5, value / most * HEIGHT) : 0;
		return height ? svg("rect", { x: (i * step).toFixed(1), y: (HEIGHT - from - height).toFixed(1), width: Math.max(1, step - 1).toFixed(1), height: height.toFixed(1), class: kind }) : null;
	};
	const failed = buckets.reduce((sum, bucket) => sum + bucket.failed_attempts, 0);
	const all = buckets.reduce((sum, bucket) => sum + bucket.attempts, 0);
	return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": `${all} attempts, ${failed} of them failed` },
		svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5, class: "base" }),
		buckets.map(({ attempts, failed_attempts: bad }, i) => [bar(i, 0, attempts, "good"), bar(i, 0, bad, "bad")]));
}
