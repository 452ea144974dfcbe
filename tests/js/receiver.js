// A customer's server for tests: keeps what it is sent, and answers what it is told to.
//
//     const receiver = await receive();
//     receiver.answer = 500;
//     const [call] = await receiver.calls(1);    // { path, headers, body }
'use strict';
const http = require('http');

const DEADLINE_MS = 30_000;

/** Resolves to what CHECK returns, once that is something. */
async function eventually(check, what) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${DEADLINE_MS} ms over, and still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

class Receiver {
  constructor(server) {
    this.server = server;
    this.answer = 200;
    this.seen = [];
  }

  url(path) {
    return `http://127.0.0.1:${this.server.address().port}${path}`;
  }

  /** The calls so far to PATH, once there are COUNT. */
  calls(count, path) {
    const some = () => this.seen.filter((call) => path === undefined || call.path === path);
    return eventually(() => some().length >= count && some(), `${count} calls of ${path || 'any path'}`);
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }

  serve(request, response) {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      this.seen.push({ path: request.url, method: request.method, headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.writeHead(this.answer, { 'Content-Type': 'text/plain' });
      response.end(`answer ${this.answer}`);
    });
  }
}

function receive() {
  return new Promise((resolve) => {
    const server = http.createServer((request, response) => receiver.serve(request, response));
    const receiver = new Receiver(server);
    server.listen(0, '127.0.0.1', () => resolve(receiver));
  });
}

module.exports = { eventually, receive };
