// What was delivered, what was not, and what can be done about it.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { after } = require('node:test');
const { receive } = require('../js/receiver.js');
const { axe, client, env, eventually, flow, keys, screenshot, send, show } = require('./support.js');

const receiving = receive();
after(async () => (await receiving).close());

const ATS = 'session.completed/20-ats';
const MAIL = 'session.abandoned/30-mail';
const rows = (page) => page.getByRole('main').locator('tbody tr');
const filters = (page) => page.locator('form[aria-label=Filters]');
const deliveries = async (query) => (await client.call('GET', '/v1/deliveries', { query: { limit: 250, ...query } })).data;
const delivery = (id) => client.call('GET', `/v1/deliveries/${id}`);
const state = (page, name) => page.getByRole('main').locator('dl').first().getByText(name, { exact: true });
const shown = (page) => rows(page).evaluateAll((all) => all.map((row) => row.querySelector('a').href.split('/').pop()));

/** With a handler that works: FILE is what it looks for. */
async function working(file, body) {
  const there = path.join(env.NTRVSTA_OUT, file);
  fs.writeFileSync(there, '');
  try {
    await body();
  } finally {
    fs.rmSync(there, { force: true });
  }
}

/** A delivery that failed for good, and one that waits. */
async function failed() {
  const id = await send('session.completed', { session: { id: crypto.randomUUID(), candidate: { name: 'Alan Turing' } } });
  return eventually(async () => (await deliveries({ event_id: id })).find((row) => row.webhook_id === ATS && row.status === 'failed'), 'it failed');
}

async function waiting() {
  const id = await send('session.abandoned', { session: { id: crypto.randomUUID() } });
  return eventually(async () => (await deliveries({ event_id: id })).find((row) => row.webhook_id === MAIL && row.status === 'pending' && row.attempt_count === 1), 'it waits');
}

flow('filter: by state, event, target and time; the address keeps it', { at: '#/deliveries' }, async (page) => {
  await rows(page).nth(40).waitFor();
  const now = async (query) => {
    const wanted = (await deliveries(query)).map(({ id }) => id);
    await eventually(async () => String((await shown(page)).slice(0, 250)) === String(wanted.slice(0, (await shown(page)).length)) && (await shown(page)).length > 0,
      `what fits ${JSON.stringify(query)}`);
  };
  await filters(page).locator('[name=status]').selectOption('failed');
  await now({ status: 'failed' });
  await page.reload();
  await now({ status: 'failed' });
  await filters(page).locator('[name=status]').selectOption('success');
  await filters(page).locator('[name=event]').fill('session.completed');
  await filters(page).locator('[name=webhook]').selectOption(ATS);
  await now({ status: 'success', event: 'session.completed', webhook: ATS });
  assert.match(page.url(), /status=success.*event=session\.completed|event=session\.completed.*status=success/);
  await filters(page).locator('[name=range]').selectOption('1h');
  await now({ status: 'success', event: 'session.completed', webhook: ATS, since: new Date(Date.now() - 3_600_000).toISOString() });
  await filters(page).locator('[name=event]').fill('none.such');
  await page.getByRole('heading', { name: 'No delivery fits' }).waitFor();
  await page.goBack();
});

flow('list: newest first, more while one scrolls, nothing twice and nothing left out', { at: '#/deliveries?status=success' }, async (page) => {
  await rows(page).first().waitFor();
  const wanted = [];
  for (let cursor; wanted.length === 0 || cursor;) {
    const answer = await client.call('GET', '/v1/deliveries', { query: { status: 'success', limit: 250, ...(cursor && { cursor }) } });
    wanted.push(...answer.data.map(({ id }) => id));
    cursor = answer.next_cursor;
  }
  assert.ok(wanted.length > 300, String(wanted.length));
  await eventually(async () => {
    await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
    return (await shown(page)).length >= wanted.length;
  }, 'all of them');
  assert.deepStrictEqual(await shown(page), wanted);
});

flow('list: back from one delivery, one is where one was', { at: '#/deliveries' }, async (page) => {
  await rows(page).nth(45).waitFor();
  const row = rows(page).nth(40);
  await row.scrollIntoViewIfNeeded();
  const before = await page.evaluate(() => window.scrollY);
  await row.getByRole('link').first().click();
  await page.getByRole('heading', { level: 1, name: /Delivery of/ }).waitFor();
  await page.goBack();
  await rows(page).nth(40).waitFor();
  await eventually(async () => Math.abs(await page.evaluate(() => window.scrollY) - before) < 60, 'the same place');
});

flow('delivery: that a script failed, with its output', { at: '#/' }, async (page, { name }) => {
  const { id, event_id: eventId } = await failed();
  await show(page, `#/deliveries/${id}`);
  await state(page, 'Failed').waitFor();
  const text = await page.getByRole('main').innerText();
  assert.match(text, /exit status 100/);
  assert.match(text, /ATS: no such candidate/);
  assert.match(text, /\d ms/);
  await screenshot(page, name);
  await page.getByRole('link', { name: 'session.completed', exact: true }).click();
  await page.getByText(eventId).first().waitFor();
  await page.goBack();
  await page.getByRole('main').getByRole('link', { name: ATS }).click();
  await page.getByRole('heading', { level: 1, name: ATS }).waitFor();
});

flow('delivery: what was sent to a URL and answered, where the webhook keeps that', { at: '#/' }, async (page, { name }) => {
  const receiver = await receiving;
  const webhook = await client.webhooks.create({ url: receiver.url('/detailed'), events: ['candidate.updated'], debug: true });
  const eventId = await send('candidate.updated', { candidate: { id: crypto.randomUUID() } });
  const [{ headers }] = (await receiver.calls(1, '/detailed')).slice(-1);
  const row = await eventually(async () => (await deliveries({ event_id: eventId })).find((one) => one.webhook_id === webhook.id && one.status === 'success'), 'it was delivered');
  await show(page, `#/deliveries/${row.id}`);
  await state(page, 'Success').waitFor();
  const text = await page.getByRole('main').innerText();
  assert.match(text, /POST \/detailed HTTP\/1\.1/);
  assert.match(text, /x-ntrvsta-event: candidate\.updated/i);
  assert.match(text, /answer 200/);
  assert.ok(!text.includes(headers['x-ntrvsta-signature']) && !text.includes(headers['webhook-signature']));
  await screenshot(page, name, { fullPage: true });
  assert.deepStrictEqual(await axe(page), []);
  await client.webhooks.delete(webhook.id);
});

flow('retry: one that failed begins anew', { at: '#/' }, async (page) => {
  const { id } = await failed();
  await show(page, `#/deliveries/${id}`);
  await working('ats-works', async () => {
    await page.getByRole('main').getByRole('button', { name: 'Retry' }).click();
    await state(page, 'Success').waitFor();
  });
  assert.strictEqual((await delivery(id)).status, 'success');
});

flow('retry: one that waits is tried now', { at: '#/' }, async (page) => {
  const { id } = await waiting();
  await show(page, `#/deliveries/${id}`);
  await page.getByText(/Next try/).waitFor();
  await working('mail-works', async () => {
    await page.getByRole('main').getByRole('button', { name: 'Try now' }).click();
    await state(page, 'Success').waitFor();
  });
});

flow('cancel: one that waits is not tried again', { at: '#/' }, async (page) => {
  const { id } = await waiting();
  await show(page, `#/deliveries/${id}`);
  await page.getByRole('main').getByRole('button', { name: 'Cancel' }).click();
  await state(page, 'Canceled').waitFor();
  assert.strictEqual((await delivery(id)).status, 'canceled');
  await page.getByRole('main').getByRole('button', { name: 'Retry' }).waitFor();
});

flow('scope: who may only read is offered neither', { key: keys.read, at: '#/deliveries?status=failed' }, async (page) => {
  await rows(page).first().waitFor();
  assert.strictEqual(await page.getByRole('button', { name: /Retry/ }).count(), 0);
  await rows(page).first().getByRole('link').first().click();
  await page.getByRole('heading', { level: 1, name: /Delivery of/ }).waitFor();
  await state(page, 'Failed').waitFor();
  assert.strictEqual(await page.getByRole('main').getByRole('button', { name: /Retry|Cancel|Try/ }).count(), 0);
});

flow('bulk retry: of what the filters show; the count first, then how far it got', { at: '#/' }, async (page, { name }) => {
  const since = new Date().toISOString();
  const ids = [await failed(), await failed(), await failed()].map(({ id }) => id);
  const older = (await deliveries({ status: 'failed', webhook: ATS })).filter(({ id }) => !ids.includes(id)).length;
  await show(page, `#/deliveries?status=failed&webhook=${encodeURIComponent(ATS)}&since=${encodeURIComponent(since)}`);
  await eventually(async () => (await rows(page).count()) === ids.length, 'those three');
  await page.getByRole('button', { name: /Retry many/ }).click();
  const dialog = page.getByRole('dialog');
  const go = dialog.getByRole('button', { name: `Retry ${ids.length}` });
  await go.waitFor();
  for (const id of ids) assert.strictEqual((await delivery(id)).status, 'failed', 'the count changes nothing');
  await screenshot(page, name);
  assert.deepStrictEqual(await axe(page), []);
  await working('ats-works', async () => {
    await go.click();
    await dialog.getByText(/^Done: 3 /).waitFor();
    for (const id of ids) await eventually(async () => (await delivery(id)).status === 'success', 'it worked');
  });
  assert.strictEqual((await deliveries({ status: 'failed', webhook: ATS })).length, older);
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await page.getByRole('heading', { name: 'No delivery fits' }).waitFor();
});
