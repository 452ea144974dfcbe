// What holds for every page, at each width and in each colour scheme: axe-core finds nothing, nothing is wider than
// the window, there is one title. A picture of each is kept.
'use strict';
const assert = require('assert');
const { axe, client, eventually, flow, screenshot, show } = require('./support.js');

const WIDTHS = [['desktop', 'light'], ['phone', 'light']]; // and then in the dark

const first = async (path, query) => (await client.call('GET', `/v1/${path}`, { query })).data[0].id;
const webhook = async () => (await client.webhooks.list()).find(({ description }) => description === 'Applicant tracking').id;

const PAGES = {
  overview: () => '#/',
  webhooks: () => '#/webhooks',
  webhook: async () => `#/webhooks/${await webhook()}`,
  handler: () => '#/webhooks/session.completed/20-ats',
  deliveries: () => '#/deliveries',
  'deliveries-filtered': () => '#/deliveries?status=failed&range=24h',
  'deliveries-none': () => '#/deliveries?event=none.such',
  'delivery-failed': async () => `#/deliveries/${await first('deliveries', { status: 'failed' })}`,
  'delivery-waiting': async () => `#/deliveries/${await first('deliveries', { status: 'waiting' })}`,
  'delivery-success': async () => `#/deliveries/${await first('deliveries', { status: 'success', webhook: await webhook() })}`,
  events: () => '#/events',
  'events-searched': () => '#/events?q=grace.hopper',
  event: async () => `#/events/${await first('events', { event: 'session.completed' })}`,
  security: () => '#/security',
  unknown: () => '#/nowhere',
  'not-there': () => '#/deliveries/dlv_00000000000000000000000000',
};

const settled = (page) => eventually(() => page.evaluate(() =>
  !document.querySelector('[aria-busy=true]') && document.fonts.status === 'loaded'), 'the page has what it shows');

async function judge(page, name) {
  await settled(page);
  await screenshot(page, name, { fullPage: true });
  const found = await page.evaluate(() => ({
    wide: document.scrollingElement.scrollWidth - document.documentElement.clientWidth,
    h1: document.querySelectorAll('h1').length,
    title: document.title,
    lang: document.documentElement.lang,
  }));
  assert.deepStrictEqual({ wide: found.wide, h1: found.h1, lang: found.lang }, { wide: 0, h1: 1, lang: 'en' });
  assert.match(found.title, /\S/);
  assert.deepStrictEqual(await axe(page), []);
}

async function inEachLight(tab, name) {
  for (const colorScheme of ['light', 'dark']) {
    await tab.emulateMedia({ colorScheme });
    await judge(tab, `${name}-${colorScheme}`);
  }
}

for (const [page, hash] of Object.entries(PAGES)) {
  flow(`page ${page}: for everybody, at every width, in every light`, { devices: WIDTHS }, async (tab, { device }) => {
    await show(tab, await hash());
    await inEachLight(tab, `page-${page}-${device}`);
  });
}

flow('page sign in: for everybody', { devices: WIDTHS, key: null }, async (tab, { device }) => {
  await show(tab, '');
  await inEachLight(tab, `page-signin-${device}`);
});
