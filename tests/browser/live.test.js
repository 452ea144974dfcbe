// What is on screen keeps up with what happens, and does not jump; a lost server is said to be lost.
'use strict';
const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { axe, client, control, env, eventually, flow, screenshot, send } = require('./support.js');

const FRESH_MS = 2_000;

const top = (locator) => locator.evaluate((element) => element.getBoundingClientRect().top);
const rows = (page) => page.getByRole('main').locator('tbody tr');

flow('live: an event is on screen within two seconds', { at: '#/events' }, async (page) => {
  await rows(page).first().waitFor();
  const took = [];
  for (let i = 0; i < 3; i++) {
    const began = performance.now();
    const id = await send('interview.created');
    await page.locator(`a[href*="${id}"]`).first().waitFor();
    took.push(Math.round(performance.now() - began));
  }
  assert.ok(Math.min(...took) < FRESH_MS, `${took.join(', ')} ms`);
});

flow('live: a list that one reads does not move; what is new is offered', { at: '#/events' }, async (page) => {
  await rows(page).nth(40).waitFor();
  await rows(page).nth(30).scrollIntoViewIfNeeded();
  await page.evaluate(() => window.scrollBy(0, 300));
  const anchor = page.locator(`a[href="${await rows(page).nth(32).getByRole('link').first().getAttribute('href')}"]`).first();
  const before = await top(anchor);
  const ids = [await send('interview.created'), await send('interview.updated')];
  const pill = page.getByRole('button', { name: /2 new/ });
  await pill.waitFor();
  assert.ok(Math.abs(await top(anchor) - before) <= 1, `from ${before} to ${await top(anchor)}`);
  await pill.click();
  for (const id of ids) await page.locator(`a[href*="${id}"]`).first().waitFor();
});

flow('live: what was opened and typed stays while figures change', { at: '#/' }, async (page) => {
  const figure = page.getByRole('region', { name: 'Figures' }).getByRole('link', { name: /Events received/ });
  await figure.waitFor();
  const count = async () => Number((await figure.locator('strong').innerText()).replace(/\D/g, ''));
  const before = await count();
  await page.getByText('As a table').click();
  await page.getByRole('table').getByRole('rowheader').first().waitFor();
  await figure.focus();
  await send('interview.created');
  await eventually(async () => await count() > before, 'the figure grew');
  assert.ok(await page.getByRole('table').getByRole('rowheader').first().isVisible());
  assert.ok(await figure.evaluate((element) => element === document.activeElement));
});

flow('live: a delivery that is tried again becomes a success before one\'s eyes', { at: '#/' }, async (page) => {
  const [waiting] = (await client.call('GET', '/v1/deliveries', { query: { status: 'waiting', webhook: 'session.abandoned/30-mail' } })).data;
  await page.goto(`${page.url().split('#')[0]}#/deliveries/${waiting.id}`);
  await page.getByRole('main').getByText('Waiting', { exact: true }).first().waitFor();
  const works = path.join(env.NTRVSTA_OUT, 'mail-works');
  fs.writeFileSync(works, '');
  try {
    await client.call('POST', `/v1/deliveries/${waiting.id}/retry`, { body: {} });
    await page.getByRole('main').getByText('Success', { exact: true }).first().waitFor();
  } finally {
    fs.unlinkSync(works);
  }
});

flow('lost: a server that is gone is said to be gone, what was there stays, and it goes on by itself', { at: '#/events' }, async (page, { name }) => {
  await rows(page).first().waitFor();
  const seen = await rows(page).count();
  await control('down');
  try {
    const banner = page.locator('#banner');
    await banner.filter({ hasText: /not answer|status 5/ }).waitFor();
    assert.strictEqual(await rows(page).count(), seen);
    await screenshot(page, name);
    assert.deepStrictEqual(await axe(page), []);
  } finally {
    await control('up');
  }
  await page.locator('#banner').filter({ hasText: /^$/ }).waitFor({ state: 'attached' });
  const id = await send('interview.deleted');
  await page.locator(`a[href*="${id}"]`).first().waitFor();
});

flow('lost: a page that is opened while the server is away is there once it is back', { at: '#/events' }, async (page) => {
  await rows(page).first().waitFor();
  await control('down');
  try {
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Webhooks' }).click();
    await page.locator('#banner').filter({ hasText: /not answer|status 5/ }).waitFor();
  } finally {
    await control('up');
  }
  await page.getByRole('heading', { level: 1, name: 'Webhooks' }).waitFor();
  await page.getByRole('row').filter({ hasText: '/ats' }).waitFor();
});
