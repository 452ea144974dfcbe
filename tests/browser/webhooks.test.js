// The list of what takes events, and all that can be done to a webhook.
'use strict';
const assert = require('assert');
const { execFileSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { after } = require('node:test');
const { receive } = require('../js/receiver.js');
const { axe, client, env, eventually, flow, screenshot, send } = require('./support.js');

const receiving = receive();
after(async () => (await receiving).close());

const dialog = (page, name) => page.getByRole('dialog', { name });
const row = (page, text) => page.getByRole('row').filter({ hasText: text });
const main = (page) => page.getByRole('main');

/** A receiver's URL that nobody else has. */
async function own() {
  const receiver = await receiving;
  const place = `/hooks/${crypto.randomUUID().slice(0, 8)}`;
  return { receiver, place, url: receiver.url(place) };
}

/** A webhook there, and its page. */
async function registered(page, fields = {}) {
  const made = await own();
  const webhook = await client.webhooks.create({ url: made.url, events: ['session.completed'], ...fields });
  await page.goto(`${page.url().split('#')[0]}#/webhooks/${webhook.id}`);
  await page.getByRole('heading', { level: 1, name: made.place }).waitFor();
  return { ...made, webhook };
}

const click = (page, name) => main(page).getByRole('button', { name }).click();

flow('list: handlers and URLs, how they do, and what waits', { at: '#/webhooks' }, async (page, { device }) => {
  const good = row(page, '/ats');
  await good.waitFor();
  assert.match(await good.innerText(), /Active/);
  for (const name of ['session.completed/10-warehouse', 'session.abandoned/30-mail', 'all/90-log']) await row(page, name).waitFor();
  if (device === 'desktop') {
    assert.match(await good.innerText(), /100\s*%/);
    assert.match(await good.innerText(), /\d ms/);
    assert.match(await row(page, '20-ats').innerText(), /80(\.0)?\s*%/);
    assert.match(await row(page, '20-ats').getByRole('img').getAttribute('aria-label'), /20 attempts, 4 of them failed/);
    await row(page, '30-mail').getByRole('link', { name: '2', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: 'Deliveries' }).waitFor();
    await eventually(async () => (await page.getByRole('row').count()) === 3, 'the two that wait');
  } else {
    await good.click();
    await page.getByRole('heading', { level: 1, name: /\/ats/ }).waitFor();
  }
});

flow('add webhook: events chosen from the documented ones, a secret made, shown once', { at: '#/webhooks', permissions: ['clipboard-read', 'clipboard-write'] }, async (page, { name }) => {
  const { receiver, place, url } = await own();
  await click(page, 'Add webhook');
  const form = dialog(page, 'Add webhook');
  await form.getByLabel('URL').fill(url);
  await form.getByLabel('Description').fill('made in a browser');
  await form.getByRole('switch', { name: /All events/ }).uncheck();
  const completed = form.getByRole('checkbox', { name: /session\.completed/ });
  assert.match(await completed.evaluate((box) => box.closest('label').innerText), /session\.completed\s+\S+/, 'it is described');
  await completed.check();
  await form.getByRole('checkbox', { name: /candidate\.invited/ }).check();
  await form.getByLabel('Others').fill('interview.rated');
  await screenshot(page, name);
  assert.deepStrictEqual(await axe(page), []);
  await form.getByRole('button', { name: 'Create webhook' }).click();
  const shown = dialog(page, 'Webhook created');
  const secret = (await shown.getByLabel('Secret', { exact: true }).innerText()).trim();
  assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  await shown.getByRole('button', { name: 'Copy secret' }).click();
  assert.strictEqual(await page.evaluate(() => navigator.clipboard.readText()), secret);
  await screenshot(page, `${name}-secret`);
  assert.deepStrictEqual(await axe(page), []);
  await shown.getByRole('button', { name: 'I have kept it' }).click();
  await row(page, place).waitFor();
  await eventually(async () => !(await page.content()).includes(secret), 'the secret is gone from the page');
  const made = (await client.webhooks.list()).find((webhook) => webhook.url === url);
  assert.deepStrictEqual([made.events.sort(), made.description, made.active],
    [['candidate.invited', 'interview.rated', 'session.completed'], 'made in a browser', true]);
  await send('session.completed');
  const [{ headers, body }] = await receiver.calls(1, place);
  assert.strictEqual(headers['x-ntrvsta-signature'], crypto.createHmac('sha256', secret).update(body).digest('hex'));
  await client.webhooks.delete(made.id);
});

const RUN = {
  'Node.js': (file, code, call) => {
    fs.writeFileSync(`${file}.mjs`, `${code}\nimport { readFileSync } from 'node:fs';\nconst { body, headers } = JSON.parse(readFileSync(0));\nprocess.stdout.write(String(isAuthentic(Buffer.from(body), headers)));\n`);
    return ['node', [`${file}.mjs`], call];
  },
  Python: (file, code, call) => {
    fs.writeFileSync(`${file}.py`, `${code}\nimport json, sys\ncall = json.load(sys.stdin)\nsys.stdout.write(str(is_authentic(call["body"].encode(), call["headers"])))\n`);
    return ['python3', [`${file}.py`], call];
  },
};

/** What the code that the page shows makes of CALL. */
function judge(language, code, secret, call) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ntrvsta-snippet-'));
  try {
    const [program, args] = RUN[language](path.join(folder, 'check'), code);
    const input = JSON.stringify({ body: call.body, headers: call.headers });
    return execFileSync(program, args, { input, env: { PATH: env.PATH, WEBHOOK_SECRET: secret } }).toString().toLowerCase();
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

flow('verification: the code shown is of four languages, and accepts what is signed and nothing else', { at: '#/webhooks' }, async (page) => {
  const { receiver, place, webhook } = await registered(page);
  await send('session.completed');
  const [call] = await receiver.calls(1, place);
  const forged = { ...call, body: call.body.replace('85', '99') };
  await page.getByText('How the receiver verifies calls').click();
  const seen = new Set();
  for (const header of ['webhook-signature', 'X-NTRVSTA-Signature']) {
    await page.getByRole('group', { name: 'Header' }).getByRole('button', { name: header, exact: true }).click();
    for (const language of ['Node.js', 'Python', 'PHP', 'Ruby']) {
      await page.getByRole('group', { name: 'Language' }).getByRole('button', { name: language, exact: true }).click();
      const code = await page.getByLabel('Code', { exact: true }).innerText();
      seen.add(code);
      if (RUN[language]) {
        assert.strictEqual(judge(language, code, webhook.secret, call), 'true', `${language}, ${header}`);
        assert.strictEqual(judge(language, code, webhook.secret, forged), 'false', `${language}, ${header}`);
      }
    }
  }
  assert.strictEqual(seen.size, 8);
  await client.webhooks.delete(webhook.id);
});

flow('add webhook: what is wrong is said at the field, what was typed stays', { at: '#/webhooks' }, async (page) => {
  await click(page, 'Add webhook');
  const form = dialog(page, 'Add webhook');
  const url = form.getByLabel('URL');
  await url.fill('ftp://files.example.org/');
  await form.getByLabel('Use my own').check();
  await form.getByLabel('Own secret').fill('correct-horse-battery');
  await form.getByRole('button', { name: 'Create webhook' }).click();
  await eventually(async () => (await url.getAttribute('aria-invalid')) === 'true', 'the URL is marked');
  const about = await url.getAttribute('aria-describedby');
  assert.match(await page.locator(`#${about}`).innerText(), /https/i);
  assert.strictEqual(await form.getByLabel('Own secret').inputValue(), 'correct-horse-battery');
  const { url: good } = await own();
  await url.fill(good);
  await form.getByRole('button', { name: 'Create webhook' }).click();
  const shown = dialog(page, 'Webhook created');
  assert.strictEqual((await shown.getByLabel('Secret', { exact: true }).innerText()).trim(), 'correct-horse-battery');
  await page.keyboard.press('Escape');
  await shown.waitFor({ state: 'detached' });
  await client.webhooks.delete((await client.webhooks.list()).find((webhook) => webhook.url === good).id);
});

flow('edit: what is changed is saved, and nothing else', { at: '#/webhooks' }, async (page) => {
  const { webhook } = await registered(page, { description: 'before', events: ['session.completed', 'some.other'] });
  await click(page, 'Edit');
  const form = dialog(page, 'Edit webhook');
  assert.strictEqual(await form.getByLabel('URL').inputValue(), webhook.url);
  assert.ok(await form.getByRole('checkbox', { name: /some\.other/ }).isChecked());
  await form.getByLabel('Description').fill('after');
  await form.getByRole('checkbox', { name: /session\.started/ }).check();
  await form.getByRole('button', { name: 'Save' }).click();
  await form.waitFor({ state: 'detached' });
  await page.getByText('after', { exact: true }).waitFor();
  const now = await client.webhooks.get(webhook.id);
  assert.deepStrictEqual([now.description, now.events.sort(), now.url, now.active],
    ['after', ['session.completed', 'session.started', 'some.other'], webhook.url, true]);
  await client.webhooks.delete(webhook.id);
});

flow('edit: given up with Escape, it changes nothing, and the focus is where it was', { at: '#/webhooks' }, async (page) => {
  const { webhook } = await registered(page, { description: 'before' });
  await click(page, 'Edit');
  await dialog(page, 'Edit webhook').getByLabel('Description').fill('after');
  await page.keyboard.press('Escape');
  await dialog(page, 'Edit webhook').waitFor({ state: 'detached' });
  assert.strictEqual(await page.evaluate(() => document.activeElement.textContent), 'Edit');
  assert.strictEqual((await client.webhooks.get(webhook.id)).description, 'before');
  await client.webhooks.delete(webhook.id);
});

flow('activate: off and on again', { at: '#/webhooks' }, async (page) => {
  const { webhook } = await registered(page);
  await click(page, 'Deactivate');
  await main(page).getByRole('button', { name: 'Activate', exact: true }).waitFor();
  assert.strictEqual((await client.webhooks.get(webhook.id)).active, false);
  await click(page, 'Activate');
  await main(page).getByRole('button', { name: 'Deactivate' }).waitFor();
  assert.strictEqual((await client.webhooks.get(webhook.id)).active, true);
  await client.webhooks.delete(webhook.id);
});

flow('rotate secret: with an overlap, in which both sign', { at: '#/webhooks' }, async (page) => {
  const { receiver, place, webhook } = await registered(page);
  await click(page, 'Rotate secret');
  const form = dialog(page, 'Rotate secret');
  await form.getByLabel('Overlap').selectOption({ label: '1 hour' });
  await form.getByRole('button', { name: 'Rotate' }).click();
  const shown = dialog(page, 'Secret rotated');
  const secret = (await shown.getByLabel('Secret', { exact: true }).innerText()).trim();
  assert.match(secret, /^whsec_/);
  assert.notStrictEqual(secret, webhook.secret);
  await shown.getByRole('button', { name: 'I have kept it' }).click();
  const { secrets } = await client.webhooks.get(webhook.id);
  const hours = (new Date(secrets[1].expires_at) - Date.now()) / 3_600_000;
  assert.ok(secrets.length === 2 && hours > 0.9 && hours <= 1, JSON.stringify(secrets));
  await main(page).getByText(/signs until/).first().waitFor();
  await send('session.completed');
  const [{ headers }] = await receiver.calls(1, place);
  assert.strictEqual(headers['webhook-signature'].split(' ').length, 2);
  await client.webhooks.delete(webhook.id);
});

flow('delete: asks first, says what is lost, and does it', { at: '#/webhooks' }, async (page, { name }) => {
  const { receiver, place, webhook } = await registered(page);
  receiver.answer = 500;
  try {
    await send('session.completed');
    await eventually(async () => (await client.webhooks.getLogs(webhook.id, { status: 'failed' })).length === 1, 'it was tried, and waits');
  } finally {
    receiver.answer = 200;
  }
  await click(page, 'Delete');
  const form = dialog(page, 'Delete webhook');
  await form.getByText(/1 delivery that waits/).waitFor();
  await screenshot(page, name);
  await form.getByRole('button', { name: 'Cancel' }).click();
  assert.strictEqual((await client.webhooks.get(webhook.id)).id, webhook.id);
  await click(page, 'Delete');
  await form.getByRole('button', { name: 'Delete webhook' }).click();
  await page.getByRole('heading', { level: 1, name: 'Webhooks' }).waitFor();
  await row(page, '/ats').waitFor();
  assert.strictEqual(await row(page, place).count(), 0);
  await assert.rejects(client.webhooks.get(webhook.id), { status: 404 });
});

flow('connectivity: that it answers with its timings as a bar, or why it does not', { at: '#/webhooks' }, async (page, { name }) => {
  const { webhook } = await registered(page);
  await click(page, 'Test connectivity');
  const shown = dialog(page, 'Connectivity');
  await shown.getByText(/answers, with status 200/).waitFor();
  assert.match(await shown.innerText(), /In all\s*\d+(\.\d+)? m?s/);
  await screenshot(page, name);
  assert.deepStrictEqual(await axe(page), []);
  await shown.getByRole('button', { name: 'Close' }).last().click();
  await client.webhooks.update(webhook.id, { url: 'http://127.0.0.1:1/' });
  await click(page, 'Test connectivity');
  await shown.getByText(/No answer:/).waitFor();
  await client.webhooks.delete(webhook.id);
});

flow('test event: its data is edited, the result is shown', { at: '#/webhooks' }, async (page, { name }) => {
  const { receiver, place, webhook } = await registered(page);
  await click(page, 'Send test event');
  const form = dialog(page, 'Send test event');
  const data = form.getByLabel('Data');
  await form.getByLabel('Event').selectOption('session.completed');
  const sample = JSON.parse(await data.inputValue());
  sample.session.overall_score = 92;
  await data.fill('{ "session": ');
  await form.getByRole('button', { name: 'Send' }).click();
  await form.getByText(/Not JSON/).waitFor();
  assert.deepStrictEqual(receiver.seen.filter((call) => call.path === place), []);
  await data.fill(JSON.stringify(sample));
  await form.getByRole('button', { name: 'Send' }).click();
  await form.getByText(/HTTP (status )?200/).waitFor();
  await screenshot(page, name);
  assert.deepStrictEqual(await axe(page), []);
  const [call] = await receiver.calls(1, place);
  assert.strictEqual(JSON.parse(call.body).data.session.overall_score, 92);
  receiver.answer = 503;
  try {
    await form.getByRole('button', { name: 'Send' }).click();
    await form.getByText(/HTTP (status )?503/).first().waitFor();
  } finally {
    receiver.answer = 200;
  }
  await client.webhooks.delete(webhook.id);
});

flow('test event: for a script as well', { at: '#/webhooks/session.completed/10-warehouse' }, async (page) => {
  await click(page, 'Send test event');
  const form = dialog(page, 'Send test event');
  await form.getByRole('button', { name: 'Send' }).click();
  await form.getByText('stored as row 4711').waitFor();
  assert.strictEqual(await main(page).getByRole('button', { name: /Edit|Delete|Rotate/ }).count(), 0);
});

flow('recover: counts first, then delivers what was missed', { at: '#/webhooks' }, async (page) => {
  const { receiver, place, webhook } = await registered(page, { events: ['candidate.updated'], active: false });
  const since = new Date(Date.now() - 5_000).toISOString();
  const missed = [await send('candidate.updated'), await send('candidate.updated')];
  for (const id of missed) await eventually(async () => (await client.call('GET', `/v1/events/${id}`)).status !== 'new', 'it is clear who takes it');
  await client.webhooks.update(webhook.id, { active: true });
  await click(page, /Recover/);
  const form = dialog(page, 'Recover');
  const go = form.getByRole('button', { name: /^Recover \d+/ });
  await go.waitFor();
  const { recoverable } = await client.call('POST', `/v1/webhooks/${webhook.id}/recover`, { body: { since, preview: true } });
  assert.ok(recoverable >= missed.length);
  assert.strictEqual((await receiver.seen.filter((call) => call.path === place)).length, 0);
  await go.click();
  await form.getByText(/^Done: /).waitFor();
  await receiver.calls(2, place);
  await client.webhooks.delete(webhook.id);
});
