import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecure } from 'node:https';
import { connect, createServer as createPlain, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as ws from 'ws';
import { openStream } from '../../../agent/streams/open.ts';
import { rewriteLocation } from '../../../master/api/proxy/headers.ts';
import { proxyName } from '../../../master/api/proxy/target.ts';
import { proxies } from '../../../master/api/proxy.ts';
import { endpointSlices } from '../../../shared/kinds/endpointslice.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods as podKind, type Pod } from '../../../shared/kinds/pod.ts';
import { services } from '../../../shared/kinds/service.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';
import { FakeStreamNode } from '../../fakes/stream-node.ts';
import { makeCertificates, openLab, pods, within, type Lab } from './support.ts';

/** The API server in front of a real web server, joined by an agent's streams in memory. */
interface Context { lab: Lab; node: FakeStreamNode; web: Server; sockets: ws.WebSocketServer; port: number; written: () => number; closed: Promise<void> }
const test = suite<Context>('proxy');

interface Seen { readonly method: string; readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly body: string }

test.before.each(async (context) => {
  let written = 0;
  context.written = () => written;
  let closed: () => void;
  context.closed = new Promise((resolve) => { closed = resolve; });
  const web = context.web = createServer((req, res) => {
    switch (req.url) {
      case '/moved': return void res.writeHead(302, { Location: '/there?x=1' }).end();
      case '/refused': return void res.writeHead(413, { 'Access-Control-Allow-Origin': '*' }).end('too much');
      case '/cut': return void res.writeHead(200, { 'Content-Length': 100 }).write('some', () => res.destroy());
      case '/endless': {
        const more = (): void => { do written += 65_536; while (!res.destroyed && res.write(Buffer.alloc(65_536))); };
        res.on('drain', more).on('close', () => closed());
        return more();
      }
      default: {
        const parts: Buffer[] = [];
        req.on('data', (part: Buffer) => parts.push(part)).on('end', () => {
          res.writeHead(200, { 'Content-Type': 'application/json', 'Set-Cookie': ['a=1', 'b=2'] });
          res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body: Buffer.concat(parts).toString() }));
        });
      }
    }
  });
  context.sockets = new ws.WebSocketServer({ noServer: true });
  web.on('upgrade', (req, socket, head) => {
    if (req.url === '/socket') return context.sockets.handleUpgrade(req, socket, head, (talk) => context.sockets.emit('connection', talk, req));
    socket.end('HTTP/1.1 302 Found\r\nLocation: /there?x=1\r\nContent-Length: 2\r\n\r\nno');
  });
  context.sockets.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
  await once(web.listen(0, '127.0.0.1'), 'listening');
  const port = context.port = (web.address() as AddressInfo).port;
  const running = { metadata: { name: 'web', namespace: 'default', uid: 'u' } } as Pod;
  context.node = new FakeStreamNode((wanted, stream, signal) => openStream(wanted, stream, {
    runtime: new FakeRuntime(new FakeClock()), target: () => undefined, running: () => undefined, address: ({ pod }) => (pod === 'gone' ? undefined : '127.0.0.1'),
    kubelet: {
      nodeName: 'n1', now: () => 0, pods: () => [{ pod: running, status: undefined }],
      use: async () => ({ node: { nanocores: 5, memoryBytes: 6 }, pods: [{ pod: running, containers: [{ name: 'main', nanocores: 1, memoryBytes: 2 }] }] }),
    },
  }, signal));
  const streams = { random: () => 0, get registry() { return context.lab.registry; }, openStream: (_node: string, wanted: Parameters<FakeStreamNode['open']>[0]) => context.node.open(wanted) };
  context.lab = await openLab({ subresources: proxies(streams) });
  const { registry } = context.lab;
  await registry.create(podKind, 'default', { metadata: { name: 'web' }, spec: { nodeName: 'n1', containers: [{ name: 'main', image: 'i', ports: [{ name: 'http', containerPort: port }] }] } });
  await registry.create(services, 'default', { metadata: { name: 'web' }, spec: { clusterIP: 'None', ports: [{ name: 'http', port: 80 }, { name: 'none', port: 81 }] } });
  await registry.create(services, 'default', { metadata: { name: 'empty' }, spec: { clusterIP: 'None', ports: [{ port: 80 }] } });
  await registry.create(endpointSlices, 'default', {
    metadata: { name: 'web-x', labels: { 'kubernetes.io/service-name': 'web' } }, addressType: 'IPv4', ports: [{ name: 'http', port, protocol: 'TCP' }],
    endpoints: [
      { addresses: ['10.0.0.8'], conditions: { ready: true } },
      { addresses: ['10.0.0.9'], conditions: { ready: true }, nodeName: 'n1', targetRef: { kind: 'Pod', namespace: 'default', name: 'web' } },
    ],
  });
  await registry.create(nodes, '', { metadata: { name: 'n1' } });
});

test.after.each(async ({ lab, web, sockets }) => {
  sockets.close();
  web.closeAllConnections();
  web.close();
  await lab.close();
});

interface Answered { readonly status: number; readonly headers: IncomingMessage['headers']; readonly text: string }

async function ask({ port }: Lab, method: string, path: string, { headers = {}, body = '' }: { headers?: Record<string, string>; body?: string } = {}): Promise<Answered> {
  const call = request({ port, method, path, headers });
  if (headers['transfer-encoding']) call.write(body.slice(0, 10));
  call.end(headers['transfer-encoding'] ? body.slice(10) : body || undefined);
  const [answer] = await within(5000, once(call, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of answer) text += String(chunk);
  return { status: answer.statusCode!, headers: answer.headers, text };
}

async function seen(answered: Promise<Answered>): Promise<Seen> {
  const { status, text } = await answered;
  assert.is(status, 200, text);
  return JSON.parse(text) as Seen;
}
const toPod = (path: string, port = ':http'): string => `${pods}/web${port}/proxy${path}`;
const message = async (answered: Promise<Answered>): Promise<string> => {
  const { status, text } = await answered;
  return `${status} ${(JSON.parse(text) as { message: string }).message}`;
};

test('method, path, query and body go through as they are', async ({ lab }) => {
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    const got = await seen(ask(lab, method, toPod('/a%2Fb//c/?q=1&q=%20'), method === 'GET' ? {} : { body: 'given', headers: { 'content-length': '5' } }));
    assert.equal([got.method, got.url, got.body], [method, '/a%2Fb//c/?q=1&q=%20', method === 'GET' ? '' : 'given']);
  }
  const large = 'x'.repeat(1_000_000);
  assert.is((await seen(ask(lab, 'POST', toPod('/'), { body: large, headers: { 'transfer-encoding': 'chunked' } }))).body, large);
  assert.is((await seen(ask(lab, 'POST', toPod('/')))).headers['content-length'], '0');
  const head = await ask(lab, 'HEAD', toPod('/'));
  assert.equal([head.status, head.text], [200, '']);
  assert.equal((await ask(lab, 'GET', toPod('/'))).headers['set-cookie'], ['a=1', 'b=2']);
});

test('the backend is told whom it answers, and not what was shown to the API server', async ({ lab }) => {
  const { headers } = await seen(ask(lab, 'GET', toPod('/x'), { headers: { 'x-mine': 'yes', connection: 'x-hop', 'x-hop': '1', host: 'cluster', 'x-forwarded-for': '10.9.9.9', 'x-remote-user': 'root', 'proxy-authorization': 'secret' } }));
  assert.is(headers['x-mine'], 'yes');
  assert.is(headers['host'], 'cluster');
  assert.match(headers['x-forwarded-for']!, /^10\.9\.9\.9, (::ffff:)?127\.0\.0\.1$/);
  assert.is(headers['x-forwarded-uri'], toPod('/x'));
  for (const gone of ['x-hop', 'x-remote-user', 'proxy-authorization', 'authorization']) assert.is(headers[gone], undefined);
});

test('a page without its slash is sent there; a backend\'s own redirects stay below the proxy', async ({ lab }) => {
  const { status, headers } = await ask(lab, 'GET', toPod('?a=1'));
  assert.equal([status, headers.location], [301, toPod('/?a=1')]);
  assert.is((await seen(ask(lab, 'POST', toPod('')))).url, '/');
  assert.is((await ask(lab, 'GET', toPod('/moved'))).headers.location, toPod('/there?x=1'));
});

test('rewriteLocation leaves what leads elsewhere', () => {
  const rewrite = (location: string): string => rewriteLocation(location, '/p/proxy', 'here:1');
  assert.equal(['/a', 'http://here:1/a?b', 'https://other/a', '//other/a', 'a/b', '?x', '/p/proxy/a', '/p/proxyish', 'http://here:1', ''].map(rewrite),
    ['/p/proxy/a', '/p/proxy/a?b', 'https://other/a', '//other/a', 'a/b', '?x', '/p/proxy/a', '/p/proxy/p/proxyish', '/p/proxy/', '']);
});

test('names', () => {
  assert.equal(proxyName('pod', 'web'), { scheme: 'http', name: 'web', port: '' });
  assert.equal(proxyName('pod', 'https:web:443'), { scheme: 'https', name: 'web', port: '443' });
  assert.equal(proxyName('pod', 'https:web:'), { scheme: 'https', name: 'web', port: '' });
  for (const bad of ['ftp:web:1', ':1', 'a:b:c:d']) assert.throws(() => proxyName('pod', bad), (error: Error) => error.message === `invalid pod request ${JSON.stringify(bad)}`);
});

test('a service by its port\'s name or number; what has no endpoint is 503', async ({ lab }) => {
  const base = '/api/v1/namespaces/default/services';
  for (const id of ['web:http', 'web:80', 'http:web:80']) assert.is((await seen(ask(lab, 'GET', `${base}/${id}/proxy/y`))).url, '/y');
  assert.is(await message(ask(lab, 'GET', `${base}/web:99/proxy/`)), '503 no service port 99 found for service "web"');
  assert.is(await message(ask(lab, 'GET', `${base}/web:none/proxy/`)), '503 no endpoints available for service "web:none"');
  assert.is(await message(ask(lab, 'GET', `${base}/empty/proxy/`)), '503 no endpoints available for service "empty"');
  assert.is(await message(ask(lab, 'GET', `${base}/nosuch/proxy/`)), '404 services "nosuch" not found');
});

test('what cannot be reached is said', async ({ lab, node, web }) => {
  assert.match(await message(ask(lab, 'GET', toPod('/', ':1'))), /^503 error trying to reach service: dial tcp4 127\.0\.0\.1:1: connect: connection refused$/);
  assert.match(await message(ask(lab, 'GET', toPod('/', ':nosuch'))), /^400 invalid port "nosuch" of pod "web"$/);
  assert.is(await message(ask(lab, 'GET', `${pods}/none/proxy/`)), '404 pods "none" not found');
  web.once('request', (req) => req.socket.destroy());
  web.removeAllListeners('request');
  web.on('request', (req) => req.socket.destroy());
  assert.match(await message(ask(lab, 'GET', toPod('/x'))), /^503 error trying to reach service: EOF$/);
  node.connected = false;
  assert.is(await message(ask(lab, 'GET', toPod('/'))), '503 error trying to reach service: node "n1" is not connected');
});

test('an answer that comes before the body was read, and one that is cut', async ({ lab }) => {
  const { status, text, headers } = await ask(lab, 'POST', toPod('/refused'), { body: 'x'.repeat(3_000_000) });
  assert.equal([status, text, headers['access-control-allow-origin']], [413, 'too much', undefined]);
  const cut = await ask(lab, 'GET', toPod('/cut')).then(() => '', (error: NodeJS.ErrnoException) => error.code);
  assert.is(cut, 'ECONNRESET');
});

test('a client that does not read holds its backend up, and one that goes away ends it', async ({ lab, written, closed }) => {
  const socket = connect(lab.port, '127.0.0.1');
  socket.write(`GET ${toPod('/endless')} HTTP/1.1\r\nHost: a\r\n\r\n`);
  await once(socket, 'readable');
  let before = -1;
  for (; before !== written(); await new Promise((resolve) => { setTimeout(resolve, 200); })) before = written();
  assert.ok(before < 30_000_000, `the backend wrote ${before} bytes to nobody`);
  socket.destroy();
  await within(5000, closed);
});

test('a server that ends its lines as few do', async ({ lab }) => {
  const plain = createPlain((socket) => { socket.once('data', () => socket.end('HTTP/1.0 200 OK\nContent-Type: text/plain\n\nall of it')); });
  await once(plain.listen(0, '127.0.0.1'), 'listening');
  assert.is((await ask(lab, 'GET', toPod('/', `:${(plain.address() as AddressInfo).port}`))).text, 'all of it');
  plain.close();
});

test('https to a backend whose certificate nobody knows', async ({ lab }) => {
  const { server: { key, certificate: cert } } = await serving();
  const secure = createSecure({ key, cert }, (req, res) => { res.end(`secure ${req.url}`); });
  await once(secure.listen(0, '127.0.0.1'), 'listening');
  const { port } = secure.address() as AddressInfo;
  assert.is((await ask(lab, 'GET', `${pods}/https:web:${port}/proxy/z`)).text, 'secure /z');
  secure.close();
});

const serving = async (): Promise<{ server: { key: string; certificate: string } }> => {
  const { server } = await makeCertificates() as unknown as { server: { key: string; certificate: string } };
  return { server };
};

test('a WebSocket goes through, with its messages and its end', async ({ lab }) => {
  const socket = new ws.WebSocket(`ws://127.0.0.1:${lab.port}${toPod('/socket')}`);
  await within(5000, once(socket, 'open'));
  const large = Buffer.alloc(700_000, 'y');
  for (const sent of [Buffer.from('hi'), large]) {
    socket.send(sent);
    const [got] = await within(5000, once(socket, 'message')) as [Buffer];
    assert.ok(got.equals(sent));
  }
  socket.close(4001, 'enough');
  const [code] = await within(5000, once(socket, 'close')) as [number];
  assert.is(code, 4001);
});

test('an upgrade that the backend refuses is its answer, and the end of the connection', async ({ lab }) => {
  const socket = connect(lab.port, '127.0.0.1');
  socket.write(`GET ${toPod('/moved')} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  assert.match(text, /^HTTP\/1\.1 302 Found\r\n/);
  assert.is(text.split('HTTP/1.1 ').length, 2);
  assert.ok(text.endsWith('\r\n\r\nno'));
  assert.match(text, new RegExp(`\\r\\nLocation: ${toPod('/there')}\\?x=1\\r\\n`));
});

test('a node shows its health, its pods and what they use', async ({ lab }) => {
  const base = '/api/v1/nodes/n1';
  assert.is((await ask(lab, 'GET', `${base}/proxy/healthz`)).text, 'ok');
  assert.is((await ask(lab, 'GET', `${base}:10250/proxy/healthz`)).text, 'ok');
  const list = JSON.parse((await ask(lab, 'GET', `${base}/proxy/pods/`)).text) as { kind: string; items: { metadata: { name: string } }[] };
  assert.equal([list.kind, list.items.map(({ metadata }) => metadata.name)], ['PodList', ['web']]);
  const { node, pods: used } = JSON.parse((await ask(lab, 'GET', `${base}/proxy/stats/summary`)).text) as { node: { nodeName: string }; pods: { podRef: { name: string }; memory: { workingSetBytes: number } }[] };
  assert.equal([node.nodeName, used[0]!.podRef.name, used[0]!.memory.workingSetBytes], ['n1', 'web', 2]);
  assert.is((await ask(lab, 'GET', `${base}/proxy/nosuch`)).status, 404);
  assert.is((await ask(lab, 'POST', `${base}/proxy/pods`)).status, 405);
  assert.equal([(await ask(lab, 'GET', `${base}/proxy/logs/`)).status, (await ask(lab, 'POST', `${base}/proxy/exec/a/b/c`)).status], [501, 501]);
  assert.is(await message(ask(lab, 'GET', `${base}:9100/proxy/`)), '501 port 9100 of node "n1" cannot be reached: only its agent\'s own paths are served');
  assert.is(await message(ask(lab, 'GET', '/api/v1/nodes/none/proxy/')), '404 nodes "none" not found');
});

test.run();
