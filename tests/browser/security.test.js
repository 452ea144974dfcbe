// Who was turned away and why, and how old the secrets are.
'use strict';
const assert = require('assert');
const { client, eventually, flow, keys, show } = require('./support.js');

flow('security: refusals by reason and address, over time', { at: '#/security' }, async (page) => {
  const { refusals } = await client.call('GET', '/v1/security', { query: { timeRange: '24h' } });
  const wrong = refusals.buckets.filter(({ code }) => code === 'invalid_signature').reduce((sum, { count }) => sum + count, 0);
  assert.ok(wrong >= 2);
  const reasons = page.getByRole('table', { name: 'Refused requests by reason' });
  assert.match(await reasons.getByRole('row', { name: /Signature does not fit/ }).innerText(), new RegExp(`\\b${wrong}$`));
  assert.match(await page.getByRole('table', { name: 'Refused requests by address' }).innerText(), /127\.0\.0\.1/);
  await page.getByRole('main').locator('canvas').first().waitFor();
});

flow('security: a request that is refused is counted while one looks', { at: '#/security' }, async (page) => {
  const row = page.getByRole('table', { name: 'Refused requests by reason' }).getByRole('row', { name: /No signature/ });
  const count = async () => ((await row.count()) ? Number((await row.innerText()).match(/(\d+)\s*$/)[1]) : 0);
  await page.getByRole('table', { name: 'Refused requests by reason' }).waitFor();
  const before = await count();
  const answer = await fetch(process.env.NTRVSTA_SOURCE, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' });
  assert.strictEqual(answer.status, 401);
  await eventually(async () => await count() === before + 1, 'one more');
});

flow('security: the live secret with its age', { at: '#/security' }, async (page) => {
  const secrets = page.getByRole('table', { name: 'Secrets by source' });
  await secrets.waitFor();
  assert.match(await secrets.getByRole('row', { name: /ntrvsta/ }).innerText(), /Live/);
});

flow('security: with a key that may only read, too', { key: keys.read, at: '#/' }, async (page) => {
  await show(page, '#/security');
  await page.getByRole('table', { name: 'Refused requests by reason' }).waitFor();
});
