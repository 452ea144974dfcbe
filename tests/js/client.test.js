// The calls that the platform's documentation shows, made as it shows them, against the real program.
// $NTRVSTA_URL is its mount, $NTRVSTA_KEY a key that may write, $NTRVSTA_READ_KEY one that may not;
// $NTRVSTA_SECRET signs what is sent to $NTRVSTA_SOURCE.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const { after, test } = require('node:test');
const { ApiError, Client } = require('./client.js');
const { hmac, platform } = require('./platform.js');
const { eventually, receive } = require('./receiver.js');

const env = process.env;
const client = new Client({ baseUrl: env.NTRVSTA_URL, apiKey: env.NTRVSTA_KEY });
const send = platform({ source: env.NTRVSTA_SOURCE, secret: env.NTRVSTA_SECRET });
const receiving = receive();
after(async () => (await receiving).close());

/** A webhook of its own for each test, at a path of its own. */
async function register(fields = {}) {
  const receiver = await receiving;
  const path = `/hooks/${crypto.randomUUID()}`;
  const webhook = await client.webhooks.create({ url: receiver.url(path), events: ['session.completed'], active: true, ...fields });
  return { receiver, path, webhook };
}

/** ... to which a delivery has failed for good. */
async function fail() {
  const made = await register();
  made.receiver.answer = 500;
  try {
    made.eventId = await send('session.completed');
    await eventually(async () => (await client.webhooks.getFailedDeliveries(made.webhook.id)).length, 'a failed delivery');
  } finally {
    made.receiver.answer = 200;
    await client.webhooks.update(made.webhook.id, { active: false });
  }
  return made;
}

test('webhooks.create: the URL is called for the events it is registered for, signed with its secret', async () => {
  const secret = 'your_webhook_secret_here';
  const { receiver, path, webhook } = await register({ events: ['session.completed', 'session.started', 'candidate.invited'], secret, active: true });
  assert.match(webhook.id, /^wh_[0-9a-z]{26}$/);
  assert.strictEqual(webhook.secret, secret);
  assert.deepStrictEqual(webhook.events, ['session.completed', 'session.started', 'candidate.invited']);
  assert.strictEqual(webhook.active, true);
  await send('session.abandoned');
  await send('session.completed');
  await send('session.started');
  const calls = await receiver.calls(2, path);
  assert.deepStrictEqual(calls.map((call) => JSON.parse(call.body).event).sort(), ['session.completed', 'session.started']);
  for (const { headers, body } of calls) {
    const signature = Buffer.from(headers['x-ntrvsta-signature'], 'hex');
    assert.ok(crypto.timingSafeEqual(signature, Buffer.from(hmac(secret, body), 'hex')));
    assert.strictEqual(headers['x-ntrvsta-event'], JSON.parse(body).event);
  }
  await client.webhooks.delete(webhook.id);
});

test('webhooks.create: a secret is made where none is said, and not shown again', async () => {
  const { webhook } = await register();
  assert.match(webhook.secret, /^whsec_/);
  assert.ok(!('secret' in await client.webhooks.get(webhook.id)));
  await client.webhooks.delete(webhook.id);
});

test('webhooks.create: what is wrong is said for each field', async () => {
  for (const [fields, wrong] of [
    [{ url: 'ftp://files.example.org/', events: ['*'] }, ['url']],
    [{ events: [], verbose: true }, ['events', 'url', 'verbose']],
  ]) {
    await assert.rejects(client.webhooks.create(fields), (error) => {
      assert.ok(error instanceof ApiError);
      assert.deepStrictEqual([error.status, error.code], [422, 'invalid_field']);
      assert.deepStrictEqual(error.errors.map(({ field }) => field).sort(), wrong);
      return true;
    });
  }
});

test('webhooks.list, get, delete: what was created is there until it is deleted', async () => {
  const { webhook } = await register({ description: 'ATS' });
  const listed = await client.webhooks.list({ limit: 250 });
  assert.strictEqual(listed.has_more, false);
  assert.ok(listed.some(({ id, kind }) => id === 'session.completed/10-keep' && kind === 'handler'));
  const one = await client.webhooks.get(webhook.id);
  assert.deepStrictEqual(listed.find(({ id }) => id === webhook.id), one);
  assert.strictEqual(one.description, 'ATS');
  assert.strictEqual(await client.webhooks.delete(webhook.id), undefined);
  await assert.rejects(client.webhooks.get(webhook.id), { name: 'ApiError', status: 404, code: 'not_found' });
});

test('webhooks.get: a handler is found by its name', async () => {
  const handler = await client.webhooks.get('session.completed/10-keep');
  assert.deepStrictEqual([handler.kind, handler.events], ['handler', ['session.completed']]);
  await assert.rejects(client.webhooks.update(handler.id, { active: false }), { status: 409, code: 'conflict' });
});

test('webhooks.update: changes what is said and nothing else', async () => {
  const { webhook } = await register({ description: 'first' });
  const changed = await client.webhooks.update(webhook.id, { events: ['*'], active: false });
  assert.deepStrictEqual([changed.events, changed.active, changed.description, changed.url], [['*'], false, 'first', webhook.url]);
  await client.webhooks.delete(webhook.id);
});

test('webhooks.update: debugging keeps what was sent and answered, without the signatures', async () => {
  const { receiver, path, webhook: made } = await register();
  assert.deepStrictEqual([made.debug, made.logLevel], [false, 'normal']);
  const webhook = await client.webhooks.update(made.id, {
    debug: true,
    logLevel: 'detailed',
  });
  assert.deepStrictEqual([webhook.debug, webhook.logLevel], [true, 'detailed']);
  await send('session.completed');
  const [log] = await eventually(async () => {
    const logs = await client.webhooks.getLogs(made.id, { limit: 50, status: 'success' });
    return logs.length && logs;
  }, 'a delivery that worked');
  const { attempts: [{ request, response }] } = await client.call('GET', `/v1/deliveries/${log.delivery_id}`);
  assert.strictEqual(request.request_line.split(' ').slice(0, 2).join(' '), `POST ${path}`);
  assert.match(response.status_line, /^HTTP\/1\.1 200/);
  assert.strictEqual(response.body, 'answer 200');
  const [{ headers }] = await receiver.calls(1, path);
  const kept = Object.fromEntries(request.headers.map(({ name, value }) => [name.toLowerCase(), value]));
  assert.strictEqual(kept['x-ntrvsta-event'], 'session.completed');
  for (const name of ['x-ntrvsta-signature', 'webhook-signature']) {
    assert.ok(kept[name] && kept[name] !== headers[name], name);
    assert.ok(!kept[name].includes(headers[name].slice(4, 40)), name);
  }
  await client.webhooks.delete(made.id);
});

test('webhooks.create: debugging from the beginning', async () => {
  const { webhook } = await register({ debug: true, logLevel: 'normal' });
  assert.deepStrictEqual([webhook.debug, webhook.logLevel], [true, 'normal']);
  await assert.rejects(client.webhooks.update(webhook.id, { logLevel: 'verbose' }), { status: 422, code: 'invalid_field' });
  await client.webhooks.delete(webhook.id);
});

test('webhooks.rotateSecret: the new secret signs, and the old one still does beside it', async () => {
  const { receiver, path, webhook } = await register();
  const { secret, previous_until: until } = await client.webhooks.rotateSecret(webhook.id, { overlap_seconds: 3600 });
  assert.notStrictEqual(secret, webhook.secret);
  assert.ok(new Date(until) > Date.now() + 3_000_000);
  await send('session.completed');
  const [{ headers, body }] = await receiver.calls(1, path);
  assert.strictEqual(headers['webhook-signature'].split(' ').length, 2);
  assert.strictEqual(headers['x-ntrvsta-signature'], hmac(secret, body));
  await client.webhooks.delete(webhook.id);
});

test('webhooks.test: a whole event with the data that is given, marked as a test', async () => {
  const { receiver, path, webhook } = await register();
  const result = await client.webhooks.test({
    webhookId: webhook.id,
    event: 'session.completed',
    testData: { session: { id: 'test_session_456', overall_score: 92 } },
  });
  assert.deepStrictEqual([result.status, result.status_code, result.test], ['success', 200, true]);
  const [call] = await receiver.calls(1, path);
  const { event, data: { session } } = JSON.parse(call.body);
  assert.deepStrictEqual([event, session.id, session.overall_score], ['session.completed', 'test_session_456', 92]);
  assert.ok(session.candidate.email && session.interview_id, 'what is not given is of the sample');
  assert.strictEqual((await client.webhooks.getStats(webhook.id)).total_deliveries, 0);
  await client.webhooks.delete(webhook.id);
});

test('webhooks.testConnectivity: whether the URL answers, and why not', async () => {
  const { webhook } = await register();
  const good = await client.webhooks.testConnectivity(webhook.id);
  assert.deepStrictEqual([good.success, good.error, good.status_code], [true, null, 200]);
  assert.ok(good.total_ms >= 0);
  await client.webhooks.update(webhook.id, { url: 'http://127.0.0.1:1/' });
  const testResult = await client.webhooks.testConnectivity(webhook.id);
  assert.strictEqual(testResult.success, false);
  assert.match(testResult.error, /refused|connect/i);
  await client.webhooks.delete(webhook.id);
});

test('webhooks.getLogs: the attempts with a status, newest first', async () => {
  const { webhook, eventId } = await fail();
  const logs = await client.webhooks.getLogs(webhook.id, { limit: 50, status: 'failed' });
  assert.ok(Array.isArray(logs));
  assert.deepStrictEqual(logs.map(({ attempt, event_id: id, status, status_code: code }) => [attempt, id, status, code]),
    [[2, eventId, 'failed', 500], [1, eventId, 'failed', 500]]);
  assert.deepStrictEqual([...await client.webhooks.getLogs(webhook.id, { limit: 50, status: 'success' })], []);
  const newest = await client.webhooks.getLogs(webhook.id, { limit: 1 });
  const older = await client.webhooks.getLogs(webhook.id, { limit: 1, cursor: newest.next_cursor });
  assert.deepStrictEqual([newest[0].attempt, older[0].attempt, older.has_more], [2, 1, false]);
  await assert.rejects(client.webhooks.getLogs(webhook.id, { status: 'lost' }), { status: 422, code: 'invalid_field' });
});

test('webhooks.getLogs: what waits for another attempt is pending', async () => {
  const { receiver, path, webhook } = await register({ url: 'http://127.0.0.1:1/', active: false });
  await client.webhooks.update(webhook.id, { url: receiver.url(path), active: true });
  receiver.answer = 429;
  try {
    await send('session.completed');
    const pending = await eventually(async () => {
      const rows = await client.webhooks.getLogs(webhook.id, { status: 'pending' });
      return rows.length && rows;
    }, 'a pending delivery');
    assert.strictEqual(pending[0].status, 'pending');
  } finally {
    receiver.answer = 200;
    await client.webhooks.delete(webhook.id);
  }
});

test('webhooks.getStats: counts and rate over a range of time', async () => {
  const { webhook } = await fail();
  await client.webhooks.update(webhook.id, { active: true });
  await send('session.completed');
  const stats = await eventually(async () => {
    const now = await client.webhooks.getStats(webhook.id, { timeRange: '24h' });
    return now.successful_deliveries && now;
  }, 'a delivery that worked');
  assert.deepStrictEqual(
    { total: stats.total_deliveries, successful: stats.successful_deliveries, failed: stats.failed_deliveries, success_rate: stats.success_rate },
    { total: 2, successful: 1, failed: 1, success_rate: 50 });
  const hours = (new Date(stats.to) - new Date(stats.from)) / 3_600_000;
  assert.ok(hours > 23 && hours < 25, `${hours} hours`);
  for (const timeRange of ['1h', '7d', '30d']) {
    assert.strictEqual((await client.webhooks.getStats(webhook.id, { timeRange })).total_deliveries, 2);
  }
  await assert.rejects(client.webhooks.getStats(webhook.id, { timeRange: '1y' }), { status: 422, code: 'invalid_field' });
  await client.webhooks.delete(webhook.id);
});

test('webhooks.getFailedDeliveries: each with its error and count of retries', async () => {
  const { webhook, eventId } = await fail();
  const failedDeliveries = await client.webhooks.getFailedDeliveries(webhook.id, { limit: 20, since: '2024-03-15T00:00:00Z' });
  let seen = 0;
  failedDeliveries.forEach((delivery) => {
    assert.match(delivery.id, /^dlv_[0-9a-z]{26}$/);
    assert.match(delivery.error_message, /500/);
    assert.deepStrictEqual([delivery.event_id, delivery.retry_count], [eventId, 1]);
    assert.ok(Math.abs(new Date(delivery.last_attempt_at) - Date.now()) < 60_000);
    seen++;
  });
  assert.strictEqual(seen, 1);
  const later = await client.webhooks.getFailedDeliveries(webhook.id, { since: new Date(Date.now() + 60_000).toISOString() });
  assert.strictEqual(later.length, 0);
});

test('a key that may only read changes nothing, and a wrong one nothing at all', async () => {
  const { webhook } = await register();
  const reader = new Client({ baseUrl: env.NTRVSTA_URL, apiKey: env.NTRVSTA_READ_KEY });
  assert.strictEqual((await reader.webhooks.get(webhook.id)).id, webhook.id);
  for (const change of [
    () => reader.webhooks.create({ url: 'https://a.example.org/', events: ['*'] }),
    () => reader.webhooks.update(webhook.id, { active: false }),
    () => reader.webhooks.delete(webhook.id),
    () => reader.webhooks.rotateSecret(webhook.id),
    () => reader.webhooks.test({ webhookId: webhook.id, event: 'session.completed' }),
    () => reader.webhooks.testConnectivity(webhook.id),
  ]) {
    await assert.rejects(change, { status: 403, code: 'forbidden' });
  }
  const stranger = new Client({ baseUrl: env.NTRVSTA_URL, apiKey: 'ntr_nobody' });
  await assert.rejects(stranger.webhooks.list(), { status: 401, code: 'unauthorized' });
  await client.webhooks.delete(webhook.id);
});
