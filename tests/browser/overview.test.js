// The day at a glance: figures that are the API's, each of which leads to its list.
'use strict';
const assert = require('assert');
const { client, eventually, flow, show } = require('./support.js');

const overview = (timeRange) => client.call('GET', '/v1/overview', { query: { timeRange } });
const figures = (page) => page.getByRole('region', { name: 'Figures' });
const rows = (page) => page.getByRole('main').locator('tbody tr');
const figure = async (page, name) => (await figures(page).getByRole('link', { name: new RegExp(`^${name}`) }).locator('strong').innerText()).trim();

flow('overview: the figures are those of the API', { at: '#/' }, async (page) => {
  await figures(page).waitFor();
  const o = await overview('24h');
  assert.strictEqual(await figure(page, 'Events received'), String(o.events_received));
  assert.ok(Math.abs(parseFloat(await figure(page, 'Success rate')) - o.success_rate) < 0.1);
  assert.strictEqual(await figure(page, 'Failed'), String(o.failed_deliveries));
  assert.strictEqual(await figure(page, 'Waiting'), String(o.pending_deliveries));
  assert.match(await figures(page).innerText(), /oldest \d+ (min|h)/);
  const refused = page.getByRole('row', { name: /Signature does not fit/ });
  assert.match(await refused.innerText(), new RegExp(`\\b${o.refusals.find(({ code }) => code === 'invalid_signature').count}$`));
});

flow('overview: each figure leads to its list', { at: '#/' }, async (page) => {
  const o = await overview('24h');
  for (const [name, heading, query, count] of [
    ['Events received', 'Events', /range=24h/, null], ['Failed', 'Deliveries', /status=failed/, o.failed_deliveries],
    ['Waiting', 'Deliveries', /status=waiting/, o.pending_deliveries], ['Success rate', 'Deliveries', /status=success/, null]]) {
    await show(page, '#/');
    await figures(page).getByRole('link', { name: new RegExp(`^${name}`) }).click();
    await page.getByRole('heading', { level: 1, name: heading }).waitFor();
    assert.match(page.url(), query, name);
    await rows(page).first().waitFor();
    if (count !== null) await eventually(async () => (await rows(page).count()) === count, `${count} rows for ${name}`);
  }
  await show(page, '#/');
  await page.getByRole('link', { name: 'By time and address' }).click();
  await page.getByRole('heading', { level: 1, name: 'Security' }).waitFor();
});

flow('overview: a chart of the day, and the same as a table', { at: '#/' }, async (page) => {
  const canvas = page.getByRole('main').locator('canvas').first();
  await canvas.waitFor();
  assert.ok(await canvas.evaluate((element) => element.getContext('2d').getImageData(0, 0, element.width, element.height).data.some(Boolean)), 'it is drawn');
  await page.getByText('As a table').first().click();
  const table = page.getByRole('main').locator('details table').first();
  await table.getByRole('rowheader').first().waitFor();
  const { buckets } = await overview('24h');
  const shown = await table.getByRole('row').count() - 1;
  assert.ok(Math.abs(shown - buckets.length) <= 1, `${shown} of ${buckets.length}`);
  const attempts = (await table.locator('tbody tr').evaluateAll((all) => all.map((row) => [...row.cells].slice(1, 3).map((cell) => Number(cell.textContent)))))
    .reduce((sum, [good, bad]) => sum + good + bad, 0);
  assert.ok(attempts >= 340, `${attempts} attempts`);
});

flow('overview: another range of time', { at: '#/' }, async (page) => {
  await figures(page).waitFor();
  await page.getByRole('navigation', { name: 'Time' }).getByRole('link', { name: '1h' }).click();
  const o = await overview('1h');
  await eventually(async () => await figures(page).isVisible() && await figure(page, 'Events received') === String(o.events_received), 'those of an hour');
  assert.match(page.url(), /range=1h/);
  await page.goBack();
  const day = await overview('24h');
  await eventually(async () => await figures(page).isVisible() && await figure(page, 'Events received') === String(day.events_received), 'those of the day');
});
