// A thin client of the management API for tests: the calls that the platform's documentation shows.
//
//     const client = new Client({ baseUrl: 'http://127.0.0.1:8080/webhooks', apiKey: 'ntr_...' });
//     const webhook = await client.webhooks.create({ url, events: ['session.completed'] });
//
// A call resolves to what the API answers; lists are arrays with the members of the page beside their rows.
// What the API refuses is an ApiError.
'use strict';

class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail);
    Object.assign(this, { name: 'ApiError', status, code: problem.code, errors: problem.errors || [] });
  }
}

const list = ({ data, ...page }) => Object.assign(data, page);

class Webhooks {
  constructor(call) {
    this.call = (method, id, more = {}) => {
      // Ids of handlers have slashes, which stay.
      const below = id === undefined ? '' : '/' + id.split('/').map(encodeURIComponent).join('/');
      return call(method, `/v1/webhooks${below}${more.path || ''}`, more);
    };
  }

  create(fields) {
    return this.call('POST', undefined, { body: fields });
  }

  async list(query) {
    return list(await this.call('GET', undefined, { query }));
  }

  get(id) {
    return this.call('GET', id);
  }

  update(id, fields) {
    return this.call('PATCH', id, { body: fields });
  }

  delete(id) {
    return this.call('DELETE', id);
  }

  rotateSecret(id, fields = {}) {
    return this.call('POST', id, { path: '/rotate-secret', body: fields });
  }

  test({ webhookId, ...fields }) {
    return this.call('POST', webhookId, { path: '/test', body: fields });
  }

  testConnectivity(id) {
    return this.call('POST', id, { path: '/test-connectivity' });
  }

  async getLogs(id, query) {
    return list(await this.call('GET', id, { path: '/logs', query }));
  }

  getStats(id, query) {
    return this.call('GET', id, { path: '/stats', query });
  }

  async getFailedDeliveries(id, query) {
    return list(await this.call('GET', id, { path: '/failed-deliveries', query }));
  }
}

class Client {
  constructor({ baseUrl, apiKey }) {
    this.baseUrl = baseUrl;
    this.apiKey = apiKey;
    this.webhooks = new Webhooks(this.call.bind(this));
  }

  async call(method, path, { query, body } = {}) {
    const headers = { 'X-Ntrvsta-Api-Key': this.apiKey };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const text = query && Object.keys(query).length ? `?${new URLSearchParams(query)}` : '';
    const answer = await fetch(this.baseUrl + path + text, { method, headers, body: body && JSON.stringify(body) });
    const json = answer.status === 204 ? undefined : await answer.json();
    if (!answer.ok) throw new ApiError(answer.status, json);
    return json;
  }
}

module.exports = { ApiError, Client };
