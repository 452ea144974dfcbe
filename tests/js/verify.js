// A receiver that checks each call as receivers do: with npm's standardwebhooks and svix, and as the platform's
// documentation checks X-NTRVSTA-Signature. Prints a line for each: {"path", check: true or what was wrong}.
// The path names the secret: /old stands for $SECRET_OLD. PORT 0, the default, is any; the one it got is its first line.
'use strict';
const crypto = require('crypto');
const http = require('http');
const { Webhook: Standard } = require('standardwebhooks');
const { Webhook: Svix } = require('svix');

function documented(payload, headers, secret) {
  const expected = crypto.createHmac('sha256', secret).update(payload, 'utf8').digest('hex');
  const signature = headers['x-ntrvsta-signature'];
  if (!crypto.timingSafeEqual(Buffer.from(signature, 'hex'), Buffer.from(expected, 'hex'))) throw new Error('differs');
}

const checks = {
  standardwebhooks: (payload, headers, secret) => new Standard(secret).verify(payload, headers),
  svix: (payload, headers, secret) => new Svix(secret).verify(payload, headers),
  documented,
};

function judge(payload, headers, secret) {
  const result = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      check(payload, headers, secret);
      result[name] = true;
    } catch (e) {
      result[name] = String(e.message);
    }
  }
  return result;
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const payload = Buffer.concat(chunks).toString('utf8');
    const secret = process.env['SECRET_' + request.url.slice(1).toUpperCase()];
    console.log(JSON.stringify({ path: request.url, ...judge(payload, request.headers, secret) }));
    response.end();
  });
});
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => console.log(server.address().port));
