import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { check, runHook } from '../../../agent/pods/check.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';

const test = suite('check');
const container = podOf('p', { containers: [{ name: 'a', image: 'a:1', ports: [{ name: 'web', containerPort: 1 }] }] }).spec.containers[0]!;
const input = { runtime: new FakeRuntime(new FakeClock()), id: 'x', container, ips: ['127.0.0.1'], timeoutMs: 300 };

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('http and tcp', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.headers.host} ${request.url} ${request.headers['user-agent']} ${String(request.headers['x-a'])}`);
    switch (request.url) {
      case '/slow': return;
      case '/bad': response.writeHead(500).end('x'.repeat(100_000)); return;
      case '/here': response.writeHead(302, { location: '/bad' }).end(); return;
      case '/round': response.writeHead(302, { location: '/round' }).end(); return;
      case '/away': response.writeHead(301, { location: 'http://elsewhere.example/' }).end('moved'); return;
      default: response.writeHead(200).end('x'.repeat(100_000));
    }
  });
  const port = await listening(server);
  const http = (path: string, more: object = {}) => check({ httpGet: { path, port, scheme: 'HTTP', ...more } }, input);
  assert.is((await http('/?a=b', { httpHeaders: [{ name: 'X-A', value: 'b' }, { name: 'Host', value: 'name.example' }] })).ok, true);
  assert.is(asked[0], 'name.example /?a=b kube-probe/1.32 b');
  assert.equal(await http('/bad'), { ok: false, message: 'HTTP probe failed with statuscode: 500' });
  assert.equal(await http('/here'), { ok: false, message: 'HTTP probe failed with statuscode: 500' });
  assert.match((await http('/round')).message, /stopped after 10 redirects$/);
  assert.equal(await http('/away'), { ok: true, warning: true, message: 'Probe terminated redirects, Response body: moved' });
  assert.match((await http('/slow')).message, /context deadline exceeded/);
  assert.match((await http('/', { httpHeaders: [{ name: 'X-A', value: 'a\nb' }] })).message, /Invalid character/);
  assert.equal(await runHook({ httpGet: { path: '/bad', port, scheme: 'HTTP' } }, input), { ok: true, message: '' });
  assert.is((await check({ tcpSocket: { port } }, input)).ok, true);
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  assert.equal(await check({ tcpSocket: { port } }, input), { ok: false, message: `dial tcp 127.0.0.1:${port}: connect: connection refused` });
  assert.is((await http('/')).message, `Get "http://127.0.0.1:${port}/": dial tcp 127.0.0.1:${port}: connect: connection refused`);
  assert.equal(await check({ tcpSocket: { port: 'nope' } }, input), { ok: false, unknown: true, message: 'couldn\'t find port: "nope" in container a' });
  assert.is((await runHook({ httpGet: { path: '/', port, scheme: 'HTTP' } }, input)).ok, false);
});

test('a server without TLS fails a probe that wants it; a hook asks again without', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => { asked.push(`${request.url} ${String(request.headers.authorization)}`); response.end(); });
  const port = await listening(server);
  const httpGet = { path: '/x', port, scheme: 'HTTPS' as const, httpHeaders: [{ name: 'Authorization', value: 'secret' }] };
  assert.equal(await check({ httpGet }, input), { ok: false, message: `Get "https://127.0.0.1:${port}/x": http: server gave HTTP response to HTTPS client` });
  assert.equal(await runHook({ httpGet }, input), { ok: true, warning: true, message: `request to HTTPS lifecycle hook 127.0.0.1:${port} got HTTP response, retry with HTTP succeeded` });
  assert.equal(asked, ['/x undefined'], 'what was meant for TLS alone is not sent without');
  server.closeAllConnections();
  server.close();
});

test('http, where the server changes the protocol', async () => {
  const server = createTcpServer((socket) => { socket.on('error', () => {}).end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n'); });
  const port = await listening(server);
  const late = new Promise((resolve) => { setTimeout(resolve, 5000, 'never answered').unref(); });
  assert.equal(await Promise.race([check({ httpGet: { path: '/', port, scheme: 'HTTP' } }, input), late]), { ok: false, message: 'HTTP probe failed with statuscode: 101' });
  server.close();
});

/** Answers health checks: by name of the service, SERVING, NOT_SERVING, an error or nothing. */
function answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, service: string): void {
  if (headers[':path'] !== '/grpc.health.v1.Health/Check' || service === 'none') {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '12', 'grpc-message': 'unknown service' }, { endStream: true });
    return;
  }
  if (service === 'slow') return;
  if (service === 'odd') {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '2', 'grpc-message': '50% of %zz' }, { endStream: true });
    return;
  }
  if (service === 'chatty') {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    const more = (): void => { if (!stream.destroyed) stream.write(Buffer.alloc(16_384), () => setImmediate(more)); };
    return more();
  }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  const status = service === 'sick' ? 2 : 1;
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, status]));
}

test('grpc', async () => {
  const server = createHttp2Server();
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => { sessions.add(session); });
  server.on('stream', (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => { chunks.push(chunk); });
    stream.on('end', () => answer(stream, headers, Buffer.concat(chunks).subarray(7).toString()));
  });
  const port = await listening(server);
  const ask = (service: string) => check({ grpc: { port, service } }, input);
  assert.equal(await ask(''), { ok: true, message: '' });
  assert.equal(await ask('my.Service'), { ok: true, message: '' });
  assert.equal(await ask('sick'), { ok: false, message: 'service unhealthy (responded with "NOT_SERVING")' });
  assert.equal(await ask('none'), { ok: false, message: 'error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service' });
  assert.equal(await ask('slow'), { ok: false, message: 'timeout: health rpc did not complete within 0.3s' });
  assert.equal(await ask('odd'), { ok: false, message: 'error: health rpc probe failed: rpc error: code = 2 desc = 50% of %zz' }, 'no message of a container ends the agent');
  assert.equal(await ask('chatty'), { ok: false, message: 'error: health rpc probe failed: the answer is no HealthCheckResponse' });
  for (const session of sessions) session.destroy();
  server.close();
  await once(server, 'close');
  assert.match((await ask('')).message, /^error: failed to connect service at "127\.0\.0\.1:\d+": .*ECONNREFUSED/);
});

test('grpc where something else listens', async () => {
  const silent = createTcpServer();
  const held = new Set<{ destroy(): void }>();
  silent.on('connection', (socket) => { held.add(socket); });
  const port = await listening(silent);
  assert.is((await check({ grpc: { port, service: '' } }, input)).message, `timeout: failed to connect service "127.0.0.1:${port}" within 0.3s: context deadline exceeded`);
  for (const socket of held) socket.destroy();
  silent.close();
});

test.run();
