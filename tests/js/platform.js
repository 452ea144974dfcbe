// The platform's part: events, signed and posted.
//
//     const send = platform({ source: 'http://127.0.0.1:8080/webhooks/ntrvsta', secret });
//     const id = await send('session.completed', { session: { id: 'sess_1' } });
'use strict';
const crypto = require('crypto');

const hmac = (secret, payload) => crypto.createHmac('sha256', secret).update(payload, 'utf8').digest('hex');

let number = 0;

/** DATA is that of a completed session where it is not said. Resolves to the event's id. */
function platform({ source, secret }) {
  return async (event, data) => {
    number++;
    const session = { id: `sess_${process.pid}_${number}`, overall_score: 85, candidate: { id: 'cand_1', name: 'Zoë' } };
    const body = JSON.stringify({ event, timestamp: '2026-03-15T15:00:00Z', data: data || { session } });
    const headers = { 'Content-Type': 'application/json', 'X-NTRVSTA-Signature': hmac(secret, body) };
    const answer = await fetch(source, { method: 'POST', headers, body });
    if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`);
    return (await answer.json()).id;
  };
}

module.exports = { hmac, platform };
