import { request, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { Duplex, type Writable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as ws from 'ws';
import { openStream, type StreamOptions } from '../../../agent/streams/open.ts';
import { podStreams, type PodStreamsOptions } from '../../../master/api/streams.ts';
import { pods as podKind } from '../../../shared/kinds/pod.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';
import { SpdyClient } from '../../fakes/spdy-client.ts';
import { FakeStreamNode } from '../../fakes/stream-node.ts';
import { seeded } from '../../property/random.ts';
import { openLab, pods, within, type Lab } from './support.ts';

/** The API server and an agent's streams, joined by channels in memory; clients come over real sockets. */
interface Context { lab: Lab; runtime: FakeRuntime; node: FakeStreamNode; echo: Server; port: number }
const test = suite<Context>('pod streams');

test.before.each(async (context) => {
  const runtime = context.runtime = new FakeRuntime(new FakeClock());
  runtime.addImage('i');
  const id = await runtime.create('c', { Image: 'i', Labels: {}, HostConfig: {} });
  await runtime.start(id);
  runtime.execs.set('fail', { exitCode: 3, output: 'bye', timedOut: false });
  const options: StreamOptions = {
    runtime, target: () => undefined,
    running: ({ pod, container }) => (pod === 'gone' ? undefined : container === 'stopped' ? '' : id),
    address: () => '127.0.0.1',
  };
  context.node = new FakeStreamNode((wanted, stream, signal) => openStream(wanted, stream, options, signal));
  context.echo = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket));
  await new Promise<void>((resolve) => { context.echo.listen(0, '127.0.0.1', resolve); });
  context.port = (context.echo.address() as AddressInfo).port;
  const streams: PodStreamsOptions = { pingMs: 50, get registry() { return context.lab.registry; }, openStream: (_node, wanted) => context.node.open(wanted) };
  context.lab = await openLab({ subresources: podStreams(streams) });
  const { registry } = context.lab;
  const spec = (names: readonly string[], nodeName?: string) => ({ containers: names.map((name) => ({ name, image: 'i' })), ...(nodeName ? { nodeName } : {}) });
  await registry.create(podKind, 'default', { metadata: { name: 'web' }, spec: spec(['main'], 'n1') });
  await registry.create(podKind, 'default', { metadata: { name: 'two' }, spec: spec(['a', 'stopped'], 'n1') });
  await registry.create(podKind, 'default', { metadata: { name: 'unbound' }, spec: spec(['main']) });
});

test.after.each(async ({ lab, echo }) => {
  echo.close();
  await lab.close();
});

interface Talk { readonly socket: ws.WebSocket; readonly got: Map<number, Buffer>; readonly closed: Promise<void>; until(found: (got: Map<number, string>) => boolean): Promise<void> }

async function webSocket(lab: Lab, path: string, protocols: readonly string[]): Promise<Talk> {
  const socket = new ws.WebSocket(`ws://127.0.0.1:${lab.port}${pods}/${path}`, [...protocols]);
  const got = new Map<number, Buffer>();
  const closed = new Promise<void>((resolve) => { socket.on('close', () => resolve()); });
  let wake = (): void => {};
  const base64 = (): boolean => socket.protocol.includes('base64');
  socket.on('message', (data: Buffer) => {
    const channel = base64() ? Number(data.toString('utf8', 0, 1)) : data[0]!;
    const bytes = base64() ? Buffer.from(data.toString('utf8', 1), 'base64') : data.subarray(1);
    got.set(channel, Buffer.concat([got.get(channel) ?? Buffer.alloc(0), bytes]));
    wake();
  });
  await new Promise<void>((resolve, reject) => { socket.on('open', () => resolve()).on('error', reject); });
  const until = async (found: (got: Map<number, string>) => boolean): Promise<void> => {
    while (!found(new Map([...got].map(([channel, bytes]) => [channel, bytes.toString()])))) await within(5000, new Promise<void>((resolve) => { wake = resolve; }));
  };
  return { socket, got, closed, until };
}

const message = (channel: number, text: string | readonly number[] | Uint8Array): Buffer => Buffer.concat([Buffer.from([channel]), Buffer.from(text as Uint8Array)]);

test('v5: input, its end, sizes, output and status', async ({ lab }) => {
  const { socket, got, closed, until } = await webSocket(lab, 'web/exec?command=fail&stdin=1&stdout=1&tty=1', ['v5.channel.k8s.io', 'v4.channel.k8s.io']);
  assert.is(socket.protocol, 'v5.channel.k8s.io');
  socket.send(message(0, 'hello '));
  await until((all) => all.get(1) === 'hello ');
  socket.send(message(4, '{"Width":80,"Height":24}\n'));
  await until((all) => all.get(1) === 'hello [80x24]');
  socket.send(message(255, [0]));
  await within(5000, closed);
  assert.is(got.get(1)?.toString(), 'hello [80x24]bye');
  assert.equal(JSON.parse(got.get(3)!.toString()), {
    metadata: {}, status: 'Failure', message: 'command terminated with non-zero exit code: error executing command [fail], exit code 3', reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: '3' }] },
  });
});

test('v4 knows no end of input; base64 is text', async ({ lab, runtime }) => {
  const { socket, got, until } = await webSocket(lab, 'web/exec?command=cat&stdin=1&stdout=1', ['v4.base64.channel.k8s.io']);
  socket.send(`0${Buffer.from('hi').toString('base64')}`);
  await until((all) => all.get(1) === 'hi');
  socket.close();
  while (runtime.hungUp.length === 0) await new Promise((resolve) => { setTimeout(resolve, 5); });
  assert.equal(runtime.hungUp, ['cat']);
  assert.is(got.get(3), undefined);
});

test('before v4 a status is the text of a failure', async ({ lab }) => {
  const { got, closed } = await webSocket(lab, 'web/exec?command=fail&stdout=1', ['channel.k8s.io']);
  await within(5000, closed);
  assert.is(got.get(1)?.toString(), 'bye');
  assert.is(got.get(3)?.toString(), 'command terminated with non-zero exit code: error executing command [fail], exit code 3');
});

test('a megabyte each way arrives as it was sent', async ({ lab }) => {
  const { socket, got, closed } = await webSocket(lab, 'web/exec?command=cat&stdin=1&stdout=1', ['v5.channel.k8s.io']);
  const random = seeded(7);
  const sent = Buffer.from(Array.from({ length: 1_000_000 }, () => random.below(256)));
  for (let at = 0; at < sent.length;) {
    const size = 1 + random.below(40_000);
    socket.send(message(0, sent.subarray(at, at + size)));
    at += size;
  }
  socket.send(message(255, [0]));
  await within(20_000, closed);
  assert.ok(got.get(1)!.equals(sent));
  assert.match(got.get(3)!.toString(), /"Success"/);
});

/** The answer to an upgrade that is refused. */
async function refused(lab: Lab, path: string, upgrade: string, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port: lab.port, path: `${pods}/${path}`, method: upgrade === 'websocket' ? 'GET' : 'POST', headers: {
      connection: 'Upgrade', upgrade, ...(upgrade === 'websocket' ? { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13', 'sec-websocket-protocol': 'v5.channel.k8s.io' } : { 'x-stream-protocol-version': 'v4.channel.k8s.io' }), ...headers,
    } });
    req.on('response', (answer: IncomingMessage) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => { text += chunk.toString(); }).on('end', () => resolve(`${answer.statusCode} ${text.startsWith('{') ? (JSON.parse(text) as { message: string }).message : text}`));
    });
    req.on('upgrade', (_answer, socket: Duplex) => { socket.destroy(); resolve('upgraded'); });
    req.on('error', reject).end();
  });
}

test('what is wrong is said before the upgrade, in Kubernetes\' words', async ({ lab, node }) => {
  for (const upgrade of ['websocket', 'SPDY/3.1']) {
    assert.is(await refused(lab, 'none/exec?command=ls&stdout=1', upgrade), '404 pods "none" not found');
    assert.is(await refused(lab, 'unbound/exec?command=ls&stdout=1', upgrade), '400 pod unbound does not have a host assigned');
    assert.is(await refused(lab, 'two/exec?command=ls&stdout=1', upgrade), '400 a container name must be specified for pod two, choose one of: [a stopped]');
    assert.is(await refused(lab, 'web/exec?command=ls', upgrade), '400 you must specify at least 1 of stdin, stdout, stderr');
  }
  assert.is(await refused(lab, 'web/exec?stdout=1', 'SPDY/3.1'), '400 you must specify at least one command for the container');
  assert.is(await refused(lab, 'two/exec?command=ls&stdout=1&container=stopped', 'SPDY/3.1'), '500 container not found ("stopped")');
  assert.is(await refused(lab, 'web/exec?command=ls&stdout=1', 'h2c'), '400 unable to upgrade: unknown protocol "h2c"');
  assert.match(await refused(lab, 'web/exec?command=ls&stdout=1', 'SPDY/3.1', { 'x-stream-protocol-version': 'v9' }), /^403 unable to upgrade: unable to negotiate protocol: client supports \[v9\]/);
  assert.match(await refused(lab, 'web/portforward', 'websocket', { 'sec-websocket-protocol': 'v4.channel.k8s.io' }), /^400 query parameter "ports" is required/);
  assert.is((await lab.client.get(`${pods}/web/exec?command=ls&stdout=1`)).json.message, 'Upgrade request required');
  node.connected = false;
  assert.is(await refused(lab, 'web/exec?command=ls&stdout=1', 'SPDY/3.1'), '500 error dialing backend: node "n1" is not connected');
});

test('over WebSocket, the kubelet\'s refusals are a status', async ({ lab }) => {
  const { got, closed } = await webSocket(lab, 'two/exec?command=ls&stdout=1&container=stopped', ['v4.channel.k8s.io']);
  await within(5000, closed);
  assert.is((JSON.parse(got.get(3)!.toString()) as { message: string }).message, 'Internal error occurred: unable to upgrade connection: container not found ("stopped")');
});

function spdy(lab: Lab, path: string, versions: string, seed?: number): Promise<SpdyClient> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port: lab.port, path: `${pods}/${path}`, method: 'POST', headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': versions } });
    req.on('upgrade', (answer, socket: Duplex, head: Buffer) => {
      assert.is(answer.headers['x-stream-protocol-version'], versions.split(', ')[0]);
      const client = new SpdyClient(socket, head);
      const random = seeded(seed ?? 0);
      if (seed !== undefined) client.cut = function* (bytes) { for (let at = 0; at < bytes.length;) { const size = 1 + random.below(3000); yield bytes.subarray(at, at + size); at += size; } };
      resolve(client);
    });
    req.on('response', (answer) => reject(new Error(`${answer.statusCode}`))).on('error', reject).end();
  });
}

test('SPDY: streams of an exec, half-closed input, exit code; however the bytes are cut', async ({ lab }) => {
  for (const seed of [undefined, 1, 2]) {
    const client = await spdy(lab, 'web/exec?command=fail&stdin=1&stdout=1&stderr=1', 'v4.channel.k8s.io, v3.channel.k8s.io', seed);
    const error = await client.open({ streamtype: 'error' });
    const stdin = await client.open({ streamtype: 'stdin' });
    const stdout = await client.open({ streamtype: 'stdout' });
    const stderr = await client.open({ streamtype: 'stderr' });
    const sent = 'spdy '.repeat(30_000);
    client.write(stdin, sent);
    client.ping(1);
    client.write(stdin, '', true);
    await client.until((events) => events.some((event) => event.type === 'ping' && event.id === 1));
    assert.is(await client.whole(stdout), `${sent}bye`);
    assert.is(await client.whole(stderr), '');
    assert.match(await client.whole(error), /"NonZeroExitCode"/);
    await client.until((events) => events.some((event) => event.type === 'goAway'));
  }
});

test('SPDY: a client that goes away ends the command; one that breaks the protocol is told', async ({ lab, runtime }) => {
  const client = await spdy(lab, 'web/exec?command=cat&stdin=1&stdout=1', 'v4.channel.k8s.io');
  for (const streamtype of ['error', 'stdin', 'stdout']) await client.open({ streamtype });
  client.write(3, 'x');
  await client.until((events) => events.some((event) => event.type === 'data' && event.id === 5));
  client.destroy();
  while (runtime.hungUp.length < 1) await new Promise((resolve) => { setTimeout(resolve, 5); });

  // One that has sent more than the command takes, so that nothing of it is read when it goes.
  runtime.stuck = true;
  const full = await spdy(lab, 'web/exec?command=cat&stdin=1&stdout=1', 'v4.channel.k8s.io');
  for (const streamtype of ['error', 'stdin', 'stdout']) await full.open({ streamtype });
  for (let n = 0; n < 40; n++) full.write(3, Buffer.alloc(100_000));
  await new Promise((resolve) => { setTimeout(resolve, 100); });
  full.destroy();
  while (runtime.hungUp.length < 2) await new Promise((resolve) => { setTimeout(resolve, 5); });
  runtime.stuck = false;

  const rude = await spdy(lab, 'web/exec?command=cat&stdin=1&stdout=1', 'v4.channel.k8s.io');
  rude.raw(Buffer.from('ffffffffffffffffffffffff', 'hex'));
  await rude.until((events) => events.some((event) => event.type === 'goAway'));
  while (runtime.hungUp.length < 3) await new Promise((resolve) => { setTimeout(resolve, 5); });
});

test('SPDY: port-forward, several connections at once, half-closed, and a port that nobody listens on', async ({ lab, port }) => {
  const client = await spdy(lab, 'web/portforward', 'portforward.k8s.io', 3);
  const pair = async (to: number, requestid: number): Promise<{ error: number; data: number }> => {
    const headers = { port: String(to), requestid: String(requestid) };
    return { error: await client.open({ ...headers, streamtype: 'error' }, true), data: await client.open({ ...headers, streamtype: 'data' }) };
  };
  const pairs = await Promise.all([1, 2, 3].map((id) => pair(port, id)));
  for (const [index, { data }] of pairs.entries()) client.write(data, `${index}`.repeat(100_000));
  for (const { data } of pairs) client.write(data, '', true);
  for (const [index, { data, error }] of pairs.entries()) {
    assert.is(await client.whole(data), `${index}`.repeat(100_000));
    assert.is(await client.whole(error), '');
  }
  const closed = await pair(1, 9);
  assert.match(await client.whole(closed.error), /^error forwarding port 1 to pod web, uid [-0-9a-f]+: dial tcp4 127\.0\.0\.1:1: connect: connection refused$/);
  client.destroy();
});

test('port-forward over WebSocket channels: the port first, then its bytes', async ({ lab, port }) => {
  const { socket, got, until } = await webSocket(lab, `web/portforward?ports=${port}&ports=1`, ['v5.channel.k8s.io', 'v4.channel.k8s.io']);
  assert.is(socket.protocol, 'v4.channel.k8s.io');
  socket.send(message(0, 'ping'));
  await until((all) => all.get(0)?.endsWith('ping') === true && (all.get(3)?.length ?? 0) > 2);
  assert.equal([got.get(0)!.readUInt16LE(0), got.get(1)!.readUInt16LE(0), got.get(2)!.readUInt16LE(0), got.get(3)!.readUInt16LE(0)], [port, port, 1, 1]);
  assert.match(got.get(3)!.toString('utf8', 2), /^error forwarding port 1 to pod web/);
  socket.close();
});

/** Exported, but not in its types. */
const { Receiver, Sender } = ws as unknown as {
  Receiver: new (options: object) => Writable;
  Sender: new (socket: Duplex) => { send(data: Buffer, options: object, done: () => void): void };
};

/** Bytes in a WebSocket's messages; `ws`'s own client refuses this subprotocol. */
function tunnel(lab: Lab): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port: lab.port, path: `${pods}/web/portforward`, headers: {
      connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13', 'sec-websocket-protocol': 'SPDY/3.1+portforward.k8s.io, v4.channel.k8s.io',
    } });
    req.on('response', (answer) => reject(new Error(String(answer.statusCode)))).on('error', reject).on('upgrade', (answer, socket: Duplex, head: Buffer) => {
      assert.is(answer.headers['sec-websocket-protocol'], 'SPDY/3.1+portforward.k8s.io');
      const receiver = new Receiver({ isServer: false });
      const sender = new Sender(socket);
      const bytes = new Duplex({
        read: () => {},
        write: (chunk: Buffer, _encoding, done) => sender.send(Buffer.from(chunk), { binary: true, mask: true, fin: true, compress: false }, () => done()),
        destroy: (error, done) => { socket.destroy(); done(error); },
      });
      receiver.on('message', (data: Buffer) => bytes.push(data));
      receiver.write(head);
      socket.on('data', (chunk: Buffer) => receiver.write(chunk)).on('close', () => bytes.destroy()).on('error', () => {});
      resolve(bytes);
    });
    req.end();
  });
}

test('port-forward tunnelled: SPDY in a WebSocket\'s messages', async ({ lab, port }) => {
  const client = new SpdyClient(await tunnel(lab));
  const headers = { port: String(port), requestid: '0' };
  const error = await client.open({ ...headers, streamtype: 'error' }, true);
  const data = await client.open({ ...headers, streamtype: 'data' });
  client.write(data, 'tunnel', true);
  assert.is(await client.whole(data), 'tunnel');
  assert.is(await client.whole(error), '');
  client.destroy();
});

test('the agent ends a forwarded connection that the client resets', async ({ lab, echo, port }) => {
  const client = await spdy(lab, 'web/portforward', 'portforward.k8s.io');
  const closed = new Promise<void>((resolve) => { echo.once('connection', (socket) => socket.once('close', () => resolve())); });
  const headers = { port: String(port), requestid: '0' };
  const error = await client.open({ ...headers, streamtype: 'error' }, true);
  const data = await client.open({ ...headers, streamtype: 'data' });
  client.write(data, 'x');
  await client.until((events) => events.some((event) => event.type === 'data' && event.id === data && event.bytes.length > 0));
  client.reset(data);
  await within(5000, closed);
  assert.is(await client.whole(error), '');
  client.destroy();
});

test.run();
