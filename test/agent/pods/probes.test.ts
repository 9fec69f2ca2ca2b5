import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { check, Probes } from '../../../agent/pods/probes.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';
import { at, view } from './views.ts';

const test = suite('probes');
const container = podOf('p', { containers: [{ name: 'a', image: 'a:1', ports: [{ name: 'web', containerPort: 1 }] }] }).spec.containers[0]!;
const input = { runtime: new FakeRuntime(new FakeClock()), id: 'x', container, ips: ['127.0.0.1'], timeoutMs: 300 };

test('http and tcp', async () => {
  const server = createServer((request, response) => {
    if (request.url === '/slow') return;
    response.writeHead(request.url === '/bad' ? 500 : request.headers['x-a'] === 'b' ? 302 : 200).end('x'.repeat(100_000));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const http = (path: string, more: object = {}) => check({ httpGet: { path, port, scheme: 'HTTP', ...more } }, input);
  assert.is((await http('/')).ok, true);
  assert.is((await http('/', { httpHeaders: [{ name: 'X-A', value: 'b' }] })).ok, true);
  assert.equal(await http('/bad'), { ok: false, message: 'HTTP probe failed with statuscode: 500' });
  assert.match((await http('/slow')).message, /context deadline exceeded/);
  assert.is((await check({ tcpSocket: { port } }, input)).ok, true);
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  assert.equal(await check({ tcpSocket: { port } }, input), { ok: false, message: `dial tcp 127.0.0.1:${port}: connect: connection refused` });
  assert.match((await http('/')).message, /connection refused$/);
  assert.match((await check({ tcpSocket: { port: 'nope' } }, input)).message, /couldn't find port: "nope"/);
});

/** Lets everything that is ready run. */
const turn = (): Promise<void> => new Promise((resolve) => { setTimeout(resolve, 2); });

test('thresholds, and the startup probe before the others', async () => {
  const clock = new FakeClock(at);
  const runtime = new FakeRuntime(clock);
  runtime.addImage('a:1');
  const id = await runtime.create('x', { Image: 'a:1', Labels: {}, HostConfig: {} });
  await runtime.start(id);
  const exec = (word: string, more: object = {}) => ({ exec: { command: [word] }, periodSeconds: 1, ...more });
  const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1', startupProbe: exec('up'), readinessProbe: exec('ready', { successThreshold: 2 }), livenessProbe: exec('live', { failureThreshold: 2 }) }] });
  const set = (word: string, ok: boolean): void => { runtime.execs.set(word, { exitCode: ok ? 0 : 1, output: '', timedOut: false }); };
  for (const word of ['up', 'ready', 'live']) set(word, false);
  let changes = 0;
  const probes = new Probes({ runtime, clock, events: { event: () => {} }, changed: () => { changes++; } });
  probes.watch(pod, [view('a', { id })], ['10.0.0.2'], () => false);
  const seconds = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) { clock.advance(1000); await turn(); }
  };
  const state = () => { const { started, ready, unhealthy } = probes.views.get(id)!; return [started, ready, unhealthy]; };
  await seconds(2);
  assert.equal(state(), [false, false, undefined]);
  for (const word of ['up', 'ready', 'live']) set(word, true);
  await seconds(1);
  assert.equal(state(), [true, false, undefined]);
  await seconds(3);
  assert.equal(state(), [true, true, undefined]);
  set('ready', false);
  await seconds(3);
  assert.equal(state(), [true, false, undefined]);
  set('live', false);
  await seconds(1);
  assert.is(state()[2], undefined);
  await seconds(1);
  assert.is(state()[2], 'liveness');
  assert.is(changes, 4);
  probes.stop();
});

test.run();
