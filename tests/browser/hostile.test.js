// What comes from outside is text: markup, scripts and terminal escapes in events, outputs, answers and names.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const { after } = require('node:test');
const { receive } = require('../js/receiver.js');
const { client, eventually, flow, screenshot, send, show } = require('./support.js');

const MARKUP = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><b>bold</b>"\'>${1}{{1}}&lt;';
const OTHERS = 'javascript:alert(1) \u202egnp.exe \u001b[31mred\u001b]0;title\u0007 \u2028 😀';

const receiving = receive();
after(async () => (await receiving).close());

/** Nothing of it took effect, and it is there to be read. */
async function judge(page, what, text) {
  await eventually(async () => (await page.locator('body').innerText()).includes(text), `${what} shows ${text}`);
  const found = await page.evaluate(() => ({
    hacked: window.hacked,
    made: document.querySelectorAll('img[src="x"], main script, main b b').length,
    links: [...document.querySelectorAll('a[href]')].filter((a) => !/^https?:$/.test(a.protocol)).length,
    controls: /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u202e]/.test(document.body.innerText),
  }));
  assert.deepStrictEqual(found, { hacked: undefined, made: 0, links: 0, controls: false }, what);
}

flow('hostile: an event, what a script printed of it, what a URL answered', { at: '#/' }, async (page, { name }) => {
  const receiver = await receiving;
  receiver.answer = 500;
  const webhook = await client.webhooks.create({ url: receiver.url('/hostile?%3Cb%3E'), events: ['hostile.event'], description: MARKUP });
  const id = await send('hostile.event', { session: { id: MARKUP, candidate: { name: MARKUP, email: OTHERS } }, [MARKUP]: OTHERS, nonce: crypto.randomUUID() });
  const deliveries = await eventually(async () => {
    const { data } = await client.call('GET', '/v1/deliveries', { query: { event_id: id } });
    const done = data.filter(({ attempt_count: count, status }) => count > 0 && status !== 'running');
    return done.length >= 3 && done;
  }, 'it was tried everywhere');
  await show(page, `#/events/${id}`);
  await judge(page, 'the event', '<img src=x onerror=');
  await screenshot(page, name);
  for (const { id: delivery, webhook_id: target } of deliveries.filter((row) => [webhook.id, 'hostile.event/10-print'].includes(row.webhook_id))) {
    await show(page, `#/deliveries/${delivery}`);
    await judge(page, `the delivery to ${target}`, target === webhook.id ? 'answer 500' : '<img src=x onerror=');
    if (target === 'hostile.event/10-print') await judge(page, 'terminal escapes', '\\x1b[31mred');
  }
  await show(page, '#/webhooks');
  await judge(page, 'the list of webhooks', MARKUP);
  await show(page, `#/webhooks/${webhook.id}`);
  await judge(page, 'the webhook', MARKUP);
  await page.getByRole('main').getByRole('button', { name: 'Edit' }).click();
  assert.strictEqual(await page.getByRole('dialog').getByLabel('Description').inputValue(), MARKUP);
  await judge(page, 'its form', 'Edit webhook');
  await client.webhooks.delete(webhook.id);
});

flow('hostile: an address that was made up', { at: '#/' }, async (page) => {
  for (const hash of [`#/deliveries/${encodeURIComponent(MARKUP)}`, `#/webhooks/${encodeURIComponent(MARKUP)}`, `#/events?q=${encodeURIComponent(MARKUP)}`,
    `#/deliveries?status=${encodeURIComponent(MARKUP)}`, `#/${MARKUP}`, '#/events/%']) {
    await page.goto(`${page.url().split('#')[0]}${hash}`);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await judge(page, hash, 'NTRVSTA');
  }
});
