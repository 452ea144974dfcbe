// Receivers' code that verifies a call, in four languages, for both kinds of signature. The secret comes from
// the environment, the body as it came: parsed and printed again it would be another one.

export const LANGUAGES = ["Node.js", "Python", "PHP", "Ruby"];

const HEX = {
	"Node.js": `import { createHmac, timingSafeEqual } from "node:crypto";

// body: a Buffer with the request's body as it came
export function isAuthentic(body, headers) {
  const wanted = createHmac("sha256", process.env.WEBHOOK_SECRET)
    .update(body).digest();
  const given = Buffer.from(headers["x-ntrvsta-signature"] ?? "", "hex");
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}`,
	Python: `import hashlib, hmac, os

# body: bytes of the request's body as it came; headers: names in lower case
def is_authentic(body, headers):
    secret = os.environb[b"WEBHOOK_SECRET"]
    wanted = hmac.new(secret, body, hashlib.sha256).hexdigest()
    given = headers.get("x-ntrvsta-signature", "")
    return hmac.compare_digest(wanted.encode(), given.lower().encode())`,
	PHP: `<?php
// $body: file_get_contents("php://input")
function is_authentic(string $body, array $server): bool
{
    $wanted = hash_hmac("sha256", $body, getenv("WEBHOOK_SECRET"));
    $given = strtolower($server["HTTP_X_NTRVSTA_SIGNATURE"] ?? "");
    return hash_equals($wanted, $given);
}`,
	Ruby: `require "openssl"

# body: request.body.read; env: the Rack environment
def authentic?(body, env)
  wanted = OpenSSL::HMAC.hexdigest("SHA256", ENV.fetch("WEBHOOK_SECRET"), body)
  given = env.fetch("HTTP_X_NTRVSTA_SIGNATURE", "").downcase
  OpenSSL.secure_compare(wanted, given)
end`,
};

const STANDARD = {
	"Node.js": `import { createHmac, timingSafeEqual } from "node:crypto";

const secret = process.env.WEBHOOK_SECRET;
const key = secret.startsWith("whsec_")
  ? Buffer.from(secret.slice(6), "base64") : secret;

// body: a Buffer with the request's body as it came
export function isAuthentic(body, headers) {
  const time = headers["webhook-timestamp"] ?? "";
  if (!(Math.abs(Date.now() / 1000 - time) < 300)) return false;
  const wanted = createHmac("sha256", key)
    .update(\`\${headers["webhook-id"]}.\${time}.\`).update(body).digest();
  return (headers["webhook-signature"] ?? "").split(" ").some((item) => {
    const given = Buffer.from(item.replace(/^v1,/, ""), "base64");
    return item.startsWith("v1,") && given.length === wanted.length
      && timingSafeEqual(given, wanted);
  });
}`,
	Python: `import base64, hashlib, hmac, os, time

secret = os.environ["WEBHOOK_SECRET"]
standard = secret.startswith("whsec_")
key = base64.b64decode(secret[6:]) if standard else secret.encode()

# body: bytes of the request's body as it came; headers: names in lower case
def is_authentic(body, headers):
    stamp = headers.get("webhook-timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > 300:
        return False
    signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    wanted = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(wanted, item) for item in given)`,
	PHP: `<?php
// $body: file_get_contents("php://input")
function is_authentic(string $body, array $server): bool
{
    $secret = getenv("WEBHOOK_SECRET");
    $key = str_starts_with($secret, "whsec_")
        ? base64_decode(substr($secret, 6)) : $secret;
    $time = $server["HTTP_WEBHOOK_TIMESTAMP"] ?? "";
    if (!ctype_digit($time) || abs(time() - (int) $time) > 300)
        return false;
    $signed = ($server["HTTP_WEBHOOK_ID"] ?? "") . ".$time.$body";
    $wanted = "v1," . base64_encode(hash_hmac("sha256", $signed, $key, true));
    foreach (explode(" ", $server["HTTP_WEBHOOK_SIGNATURE"] ?? "") as $given)
        if (hash_equals($wanted, $given))
            return true;
    return false;
}`,
	Ruby: `require "openssl"

SECRET = ENV.fetch("WEBHOOK_SECRET")
KEY = SECRET.start_with?("whsec_") ? SECRET[6..].unpack1("m") : SECRET

# body: request.body.read; env: the Rack environment
def authentic?(body, env)
  time = env.fetch("HTTP_WEBHOOK_TIMESTAMP", "")
  return false unless time.match?(/\\A\\d+\\z/)
  return false if (Time.now.to_i - time.to_i).abs > 300
  signed = "#{env["HTTP_WEBHOOK_ID"]}.#{time}.#{body}"
  wanted = "v1," + [OpenSSL::HMAC.digest("SHA256", KEY, signed)].pack("m0")
  given = env.fetch("HTTP_WEBHOOK_SIGNATURE", "").split
  given.any? { |item| OpenSSL.secure_compare(wanted, item) }
end`,
};

// SCHEME: the header that is checked.
export const snippet = (language, scheme) => (scheme === "webhook-signature" ? STANDARD : HEX)[language];
