// Signing in and out, what a session is made of, and what the scope of a key allows.
'use strict';
const assert = require('assert');
const { base, control, dashboard, flow, keys, screenshot } = require('./support.js');

const form = (page) => ({ key: page.getByLabel('API key'), submit: page.getByRole('button', { name: 'Sign in' }) });
const header = (page, name) => page.getByRole('banner').getByRole('button', { name });

async function enter(page, key) {
  await form(page).key.fill(key);
  await form(page).submit.click();
}

flow('sign in: with a key, and out again', { key: null }, async (page, { context, name }) => {
  await page.goto(dashboard);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await screenshot(page, name);
  await enter(page, keys.write);
  await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Events' }).click();
  await page.getByRole('heading', { level: 1, name: 'Events' }).waitFor();
  await header(page, 'Sign out').click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.deepStrictEqual(await context.cookies(dashboard), []);
  await page.goBack();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
});

flow('sign in: a wrong key is refused with a word, and can be corrected', { key: null }, async (page, { context }) => {
  await page.goto(dashboard);
  for (const wrong of ['ntr_nobody', keys.write.slice(0, -1) + (keys.write.endsWith('0') ? '1' : '0')]) {
    await enter(page, wrong);
    await page.getByRole('alert').filter({ hasText: /not known|revoked/ }).waitFor();
    assert.strictEqual(await form(page).key.getAttribute('aria-invalid'), 'true');
  }
  assert.deepStrictEqual(await context.cookies(dashboard), []);
  await enter(page, `  ${keys.write} `);
  await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
});

flow('sign in: the keyboard is enough', { key: null }, async (page) => {
  await page.goto(dashboard);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.keyboard.type(keys.read);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  await page.keyboard.press('Tab');
  assert.strictEqual(await page.evaluate(() => document.activeElement === document.body), false);
});

flow('session: the key is nowhere in the page, the cookie out of reach of scripts', { at: '#/' }, async (page, { context }) => {
  const [cookie, ...more] = await context.cookies(dashboard);
  assert.strictEqual(more.length, 0);
  assert.deepStrictEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ['ntrvsta_session', true, 'Strict']);
  const seconds = cookie.expires - Date.now() / 1000;
  assert.ok(seconds > 11.9 * 3600 && seconds <= 12 * 3600 + 5, `${seconds} s`);
  const kept = await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, location.href]));
  const secret = keys.write.split('_')[2];
  for (const text of [kept, await page.content(), cookie.value]) assert.ok(!text.includes(secret));
  assert.ok(!kept.includes(cookie.value));
});

flow('session: a change without the token is refused, and so is one from another site', { at: '#/' }, async (page, { context }) => {
  const fetched = await page.evaluate(async (url) => {
    const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"url":"https://a.example.org/","events":["*"]}' });
    return [answer.status, (await answer.json()).code];
  }, `${base}/v1/webhooks`);
  assert.deepStrictEqual(fetched, [403, 'csrf']);
  const { csrf } = await (await context.request.get(`${dashboard}session`)).json();
  const foreign = await context.request.patch(`${base}/v1/webhooks/wh_0`, {
    headers: { 'X-CSRF-Token': csrf, 'Sec-Fetch-Site': 'cross-site' }, data: { active: false } });
  assert.strictEqual(foreign.status(), 403);
  const own = await context.request.patch(`${base}/v1/webhooks/wh_0`, { headers: { 'X-CSRF-Token': csrf }, data: { active: false } });
  assert.strictEqual(own.status(), 404);
});

flow('session: one that ended asks for the key, and goes on at the same place', { at: '#/webhooks' }, async (page, { context }) => {
  await control('expire');
  await page.getByText(/session has ended/i).waitFor();
  await enter(page, keys.write);
  await page.getByRole('heading', { level: 1, name: 'Webhooks' }).waitFor();
  assert.match(page.url(), /#\/webhooks$/);
  assert.strictEqual((await context.cookies(dashboard)).length, 1);
});

flow('scope: a key that may only read is offered no changes, and refused each', { key: keys.read, at: '#/webhooks' }, async (page, { context }) => {
  await page.getByRole('link', { name: /10-warehouse/ }).first().waitFor();
  assert.strictEqual(await page.getByRole('button', { name: /add webhook/i }).or(page.getByRole('link', { name: /add webhook/i })).count(), 0);
  await page.getByRole('link', { name: /ats/ }).last().click();
  await page.getByRole('heading', { level: 1 }).waitFor();
  for (const name of [/^edit/i, /rotate/i, /delete/i, /^send|^test/i, /connectivity/i, /activate/i]) {
    for (const button of await page.getByRole('main').getByRole('button', { name }).all()) assert.ok(await button.isDisabled(), String(name));
  }
  const { csrf } = await (await context.request.get(`${dashboard}session`)).json();
  const refused = await context.request.post(`${base}/v1/webhooks`, {
    headers: { 'X-CSRF-Token': csrf }, data: { url: 'https://a.example.org/', events: ['*'] } });
  assert.deepStrictEqual([refused.status(), (await refused.json()).code], [403, 'forbidden']);
});
