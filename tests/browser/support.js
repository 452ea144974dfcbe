// What the browser's tests share: a browser, pages of it that are signed in, and what must hold on every page.
//
// Each flow is run at desktop width in light colours and on a phone in dark ones. Whatever it does, the page may
// complain about nothing, and call nobody but its own server.
'use strict';
const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { after, test } = require('node:test');
const { chromium } = require('playwright-core');
const { Client } = require('../js/client.js');
const { platform } = require('../js/platform.js');
const { eventually } = require('../js/receiver.js');

const env = process.env;
const DEVICES = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
};
const USUAL = [['desktop', 'light'], ['phone', 'dark']];
const STEP_MS = 10_000;

const keys = { admin: env.NTRVSTA_ADMIN_KEY, write: env.NTRVSTA_KEY, read: env.NTRVSTA_READ_KEY };
const base = env.NTRVSTA_URL;
const dashboard = `${base}/dashboard/`;
const client = new Client({ baseUrl: base, apiKey: keys.write });
const send = platform({ source: env.NTRVSTA_SOURCE, secret: env.NTRVSTA_SECRET });

const starting = chromium.launch({ executablePath: env.NTRVSTA_CHROMIUM, args: ['--font-render-hinting=none'] });
after(async () => (await starting).close());

/** What test_dashboard.py does for us: take the server away, let sessions end. */
async function control(action) {
  const answer = await fetch(`${env.NTRVSTA_CONTROL}/${action}`, { method: 'POST' });
  assert.strictEqual(answer.status, 204, `${action}: ${await answer.text()}`);
}

/** What PAGE complains about, what it misses, and whom it calls. EXPECTED: complaints that the test provokes. */
function watch(page, expected) {
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`${error.stack || error}`));
  page.on('console', (message) => {
    // An answer that is no success is written to the console by the browser itself.
    const own = message.type() === 'error' && !/^Failed to load resource/.test(message.text());
    if (own && !(expected && expected.test(message.text()))) complaints.push(message.text());
  });
  page.on('response', (response) => {
    const file = response.url().startsWith(dashboard) && !response.url().endsWith('/session');
    if (file && response.status() >= 400) complaints.push(`${response.status()} for ${response.url()}`);
  });
  page.on('request', (request) => {
    const url = request.url();
    if (!/^(data|blob|about):/.test(url) && new URL(url).origin !== new URL(base).origin) complaints.push(`a request to ${url}`);
  });
  return complaints;
}

async function screenshot(page, name, how = {}) {
  fs.mkdirSync(env.NTRVSTA_SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(env.NTRVSTA_SCREENSHOTS, `${name}.png`), ...how });
}

/** A session without the form. The connection may be one that the server is about to close. */
async function signIn(context, key) {
  const answer = await context.request.post(`${dashboard}session`, { data: { key }, maxRetries: 3 });
  assert.strictEqual(answer.status(), 200, await answer.text());
}

/** Goes to the page that HASH names; resolves once it is another one than before. */
async function show(page, hash) {
  await page.evaluate(() => document.querySelector('h1')?.setAttribute('data-before', ''));
  if (page.url() === dashboard + hash) await page.reload();
  else await page.goto(dashboard + hash);
  await page.locator('h1:not([data-before])').waitFor();
}

async function visit([device, scheme], name, { key = keys.write, at, expected, ...more }, body) {
  const browser = await starting;
  const context = await browser.newContext({
    ...DEVICES[device], colorScheme: scheme, locale: 'en-GB', timezoneId: 'Europe/Berlin', reducedMotion: 'reduce', ...more });
  context.setDefaultTimeout(STEP_MS);
  try {
    const page = await context.newPage();
    const complaints = watch(page, expected);
    if (key) await signIn(context, key);
    if (at !== undefined) await show(page, at);
    try {
      await body(page, { context, device, scheme, name: `${name}-${device}-${scheme}` });
    } catch (error) {
      await screenshot(page, `failed-${name}-${device}-${scheme}`).catch(() => {});
      error.message += `\nAt ${page.url()}, which complains: ${complaints.join('; ') || 'nothing'}`;
      throw error;
    }
    assert.deepStrictEqual(complaints, []);
  } finally {
    await context.close();
  }
}

/** test() for each of the devices: BODY(page, { context, device, scheme, name }). OPTIONS: key (null: not signed in),
 *  at (the hash to begin at), devices, expected, and any of Playwright's for a context. */
function flow(title, { devices = USUAL, ...options }, body) {
  const name = title.split(':')[0].toLowerCase().replace(/[^a-z0-9]+/g, '-');
  for (const look of devices) test(`${title} (${look.join(', ')})`, () => visit(look, name, options, body));
}

/** What axe-core finds wrong with the page as it is, one line each. */
async function axe(page) {
  await page.evaluate(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' ').slice(0, 400)}`);
}

module.exports = { axe, base, client, control, dashboard, env, eventually, flow, keys, screenshot, send, show, signIn };
