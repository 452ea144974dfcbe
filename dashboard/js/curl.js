// The command that sends a body again, signed by whoever has the secret in the environment: the line itself
// never holds it.

const MOST = 60000; // of one argument; longer bodies come from a file

// For a POSIX shell: nothing in it is special but the quote itself.
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const SIGNATURE = "openssl dgst -sha256 -hmac \"$NTRVSTA_WEBHOOK_SECRET\" -r";

export function curlLine(url, event, body) {
	const head = `curl -sS ${quote(url)} -H 'Content-Type: application/json' -H 'X-NTRVSTA-Event: ${event.event}'`;
	if (body.length > MOST) {
		return `${head} -H "X-NTRVSTA-Signature: $(${SIGNATURE} ${event.id}.json | cut -c1-64)" --data-binary @${event.id}.json`;
	}
	return `body=${quote(body)}; ${head} -H "X-NTRVSTA-Signature: $(printf %s "$body" | ${SIGNATURE} | cut -c1-64)" --data-raw "$body"`;
}

// Where the source most likely is: its path is /webhooks/NAME unless the configuration says otherwise, and the
// dashboard is beside it or above.
export function sourceUrl(source) {
	const mount = new URL("..", location.href.split("#")[0]);
	const beside = mount.pathname.endsWith("/webhooks/") ? "" : "webhooks/";
	return new URL(beside + encodeURIComponent(source), mount).href;
}
