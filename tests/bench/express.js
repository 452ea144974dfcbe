// What the sender's documentation shows as a receiver, in our own words: Express takes the raw body,
// compares the HMAC, parses, calls a function by the event's name, and answers. Nothing is stored. GET
// /ran tells how often that function was called.
'use strict';
const crypto = require('crypto');
const express = require('express');

const secret = process.env.NTRVSTA_WEBHOOK_SECRET;
const app = express();
let ran = 0;

const actions = {
	'session.completed': () => { ran++; },
};

function authentic(body, signature) {
	const expected = crypto.createHmac('sha256', secret).update(body).digest();
	const received = Buffer.from(signature || '', 'hex');
	return received.length === expected.length && crypto.timingSafeEqual(received, expected);
}

app.use('/webhooks', express.raw({ type: 'application/json' }));
app.post('/webhooks/ntrvsta', (req, res) => {
	if (!authentic(req.body, req.headers['x-ntrvsta-signature']))
		return res.status(401).send('wrong signature');
	const event = JSON.parse(req.body);
	const action = actions[event.event];
	if (action)
		action(event.data.session);
	return res.status(200).send('OK');
});
app.get('/ran', (req, res) => res.send(String(ran)));
app.listen(Number(process.env.PORT), '127.0.0.1');
