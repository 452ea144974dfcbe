// What came in: found, read, delivered again, sent again.
'use strict';
const assert = require('assert');
const { execFileSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const { client, env, eventually, flow, keys, screenshot, send, show } = require('./support.js');

const rows = (page) => page.getByRole('main').locator('section[aria-label=Events] tbody tr');
const body = (page) => page.getByRole('main').locator('.json');
const search = (page) => page.locator('form[aria-label=Filters]').getByLabel('Search');
const shown = (page) => rows(page).evaluateAll((all) => all.map((row) => row.querySelector('a').href.split('/').pop()));

flow('search: by id, name, e-mail and session id', { at: '#/events' }, async (page) => {
  const email = `${crypto.randomUUID()}@example.org`;
  const session = `sess_${crypto.randomUUID()}`;
  const id = await send('interview.rated', { session: { id: session, candidate: { email } } });
  await send('interview.rated', { session: { id: 'another' } });
  await rows(page).nth(10).waitFor();
  for (const text of [id, email, session]) {
    await search(page).fill(text);
    await eventually(async () => String(await shown(page)) === id, `only the event with ${text}`);
    assert.match(page.url(), /q=/);
  }
  await search(page).fill('interview.rated');
  await eventually(async () => (await shown(page)).length >= 2 && (await shown(page)).includes(id), 'both');
  await search(page).fill('no such thing anywhere');
  await page.getByText(/Nothing fits/).waitFor();
  await page.getByText(/All events of this time were searched/).waitFor();
  await search(page).fill('');
  await rows(page).nth(10).waitFor();
});

flow('event: its body coloured and folded, raw, and as a file', { at: '#/' }, async (page, { name }) => {
  const id = await send('interview.rated', { session: { id: 'sess_fold', scores: [1, 2, 3], candidate: { email: 'zoë@example.org' } } });
  const { body: text } = await client.call('GET', `/v1/events/${id}`);
  await show(page, `#/events/${id}`);
  await body(page).getByText('"candidate"').waitFor();
  const colours = await body(page).evaluate((json) =>
    new Set([...json.querySelectorAll('span')].filter((span) => span.offsetParent).map((span) => getComputedStyle(span).color)).size);
  assert.ok(colours >= 3, `${colours} colours`);
  await screenshot(page, name, { fullPage: true });
  const email = body(page).getByText('"zoë@example.org"');
  await email.waitFor();
  await body(page).locator('summary').filter({ hasText: '"session"' }).click();
  await email.waitFor({ state: 'hidden' });
  await body(page).locator('summary').filter({ hasText: '"session"' }).click();
  await email.waitFor();
  await page.getByRole('button', { name: 'Raw' }).click();
  assert.strictEqual(await page.getByLabel('Raw body').innerText(), text);
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
  assert.strictEqual(file.suggestedFilename(), `${id}.json`);
  assert.strictEqual(fs.readFileSync(await file.path(), 'utf8'), text);
});

flow('event: the body as it came, byte for byte', { at: '#/' }, async (page) => {
  const text = ' {"event": "interview.rated",\n\t"data":{"big": 12345678901234567890, "big": 1.50e+3, "name":"Zo\\u00eb"} }\n';
  const secret = env.NTRVSTA_SECRET;
  const answer = await fetch(env.NTRVSTA_SOURCE, { method: 'POST', body: text, headers: {
    'Content-Type': 'application/json', 'X-NTRVSTA-Signature': crypto.createHmac('sha256', secret).update(text).digest('hex') } });
  const { id } = await answer.json();
  await show(page, `#/events/${id}`);
  await body(page).getByText('12345678901234567890').waitFor();
  await body(page).getByText('1.50e+3').waitFor();
  await page.getByRole('button', { name: 'Raw' }).click();
  assert.strictEqual(await page.getByLabel('Raw body').evaluate((element) => element.textContent), text);
});

flow('curl: the line that is shown sends the body again', { at: '#/' }, async (page) => {
  const id = await send('interview.rated', { session: { id: crypto.randomUUID(), note: "it's $HOME `id` \\ \"quoted\" %s\n!" } });
  await show(page, `#/events/${id}`);
  await page.getByText('Send it again with curl').click();
  const line = await page.getByLabel('Command').innerText();
  assert.ok(!line.includes(env.NTRVSTA_SECRET));
  const output = execFileSync('/bin/sh', ['-c', line], { env: { PATH: env.PATH, NTRVSTA_WEBHOOK_SECRET: env.NTRVSTA_SECRET } }).toString();
  assert.deepStrictEqual(JSON.parse(output), { id, status: 'accepted', duplicate: true });
});

flow('replay: to all that take it, or one of them', { at: '#/' }, async (page) => {
  const id = await send('session.started', { session: { id: crypto.randomUUID() } });
  const attempts = async (webhook) => {
    const { data } = await client.call('GET', '/v1/deliveries', { query: { event_id: id } });
    const row = data.find((one) => one.webhook_id === webhook);
    return row ? (await client.call('GET', `/v1/deliveries/${row.id}`)).attempts.filter(({ status }) => status === 'success').length : 0;
  };
  const ats = (await client.webhooks.list()).find(({ description }) => description === 'Applicant tracking').id;
  await eventually(async () => await attempts('all/90-log') === 1 && await attempts(ats) === 1, 'it was delivered');
  await show(page, `#/events/${id}`);
  const dialog = page.getByRole('dialog', { name: 'Replay' });
  await page.getByRole('main').getByRole('button', { name: /Replay/ }).click();
  await dialog.getByLabel('Target').selectOption('all/90-log');
  await dialog.getByRole('button', { name: 'Replay', exact: true }).click();
  await eventually(async () => await attempts('all/90-log') === 2, 'once more');
  assert.strictEqual(await attempts(ats), 1);
  await page.getByRole('main').getByRole('button', { name: /Replay/ }).click();
  await dialog.getByRole('button', { name: 'Replay', exact: true }).click();
  await eventually(async () => await attempts('all/90-log') === 3 && await attempts(ats) === 2, 'everywhere');
});

flow('event: what became of it, and a way to each delivery', { at: '#/' }, async (page) => {
  const id = await send('session.started', { session: { id: crypto.randomUUID() } });
  await show(page, `#/events/${id}`);
  const links = page.getByRole('main').locator('tbody tr').getByRole('link');
  await links.nth(1).waitFor();
  assert.deepStrictEqual((await links.allInnerTexts()).map((text) => text.trim().replace(/.*\/ats/, '/ats')).sort(), ['/ats', 'all/90-log']);
  await links.filter({ hasText: '90-log' }).click();
  await page.getByRole('heading', { level: 1, name: /Delivery of session\.started/ }).waitFor();
});

flow('scope: who may only read replays nothing', { key: keys.read, at: '#/events' }, async (page) => {
  await rows(page).first().getByRole('link').first().click();
  await page.getByText('Send it again with curl').waitFor();
  assert.strictEqual(await page.getByRole('button', { name: /Replay/ }).count(), 0);
});
