import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createProxy } from '../../agent/net/proxy.ts';
import type { Listener } from '../../agent/net/routes.ts';
import { createServiceRange } from '../../agent/net/service-range.ts';
import { chooseTcpEngine } from '../../agent/net/tcp.ts';
import { systemClock } from '../../shared/clock.ts';
import { createLog, silentLog } from '../../shared/log.ts';

/**
 * The service addresses in the wild: a namespace `n` is the node (range made local, proxy, two backends), a namespace
 * `c` is a container that routes everything through it. This file runs itself in them: as `node`, as `ask`.
 */
const range = '10.96.0.0/16';
const serviceAddress = '10.96.0.10';
const nodeAddress = '10.77.0.1';
const [role, ...args] = process.argv.slice(2);

if (role === 'node') await beNode();
else if (role === 'ask') await ask(args[0]!, args[1]!, Number(args[2]));
else runTests();

function runTests(): void {
  const test = suite('service range');
  const id = process.pid % 10_000;
  const netns = { n: `wherry-n${id}`, c: `wherry-c${id}` };
  const self = fileURLToPath(import.meta.url);
  const lines: string[] = [];
  let node: ChildProcess | undefined;

  const ip = (...words: string[]): string => String(execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] }));
  const inside = (where: 'n' | 'c', ...words: string[]): string =>
    String(execFileSync('nsenter', [`--net=/run/netns/${netns[where]}`, process.execPath, self, ...words], { timeout: 10_000 })).trim();
  const until = async (holds: () => boolean, what: string): Promise<void> => {
    const end = Date.now() + 10_000;
    while (!holds()) {
      if (Date.now() > end) throw new Error(`not within 10 s: ${what}; the node said ${lines.join(' | ')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const route = (): string => ip('-n', netns.n, 'route', 'show', 'table', 'local', 'exact', range).trim();

  test.before(async () => {
    for (const name of [netns.n, netns.c]) ip('netns', 'add', name);
    ip('-n', netns.n, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v0', 'netns', netns.c);
    for (const [name, address] of [[netns.n, nodeAddress], [netns.c, '10.77.0.2']] as const) {
      ip('-n', name, 'link', 'set', 'lo', 'up');
      ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', 'v0');
      ip('-n', name, 'link', 'set', 'v0', 'up');
    }
    ip('-n', netns.c, 'route', 'add', 'default', 'via', nodeAddress);
    node = spawn('nsenter', [`--net=/run/netns/${netns.n}`, process.execPath, self, 'node'], { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface(node.stdout!).on('line', (line) => lines.push(line));
    await until(() => lines.includes('open 6'), 'the listeners are open');
  });

  test.after(async () => {
    if (node?.exitCode === null) { node.kill('SIGKILL'); await once(node, 'exit'); }
    for (const name of [netns.n, netns.c]) ip('netns', 'del', name);
  });

  test('the route is one local route with the node as source', () => {
    assert.is(route(), `local ${range} dev lo scope host src ${nodeAddress}`);
  });

  for (const protocol of ['tcp', 'udp']) {
    test(`${protocol}: reached from the node itself`, () => {
      assert.is(inside('n', 'ask', protocol, serviceAddress, '80'), `hello ${nodeAddress}`);
    });

    test(`${protocol}: reached from another namespace, answered from the service address`, () => {
      assert.is(inside('c', 'ask', protocol, serviceAddress, '80'), `hello ${nodeAddress}`);
    });

    test(`${protocol}: node port`, () => {
      assert.is(inside('c', 'ask', protocol, nodeAddress, '30080'), `hello ${nodeAddress}`);
    });
  }

  test('an address of the range that has no service refuses', () => {
    assert.is(inside('c', 'ask', 'tcp', '10.96.7.7', '80'), 'ECONNREFUSED');
  });

  test('a port that another program holds on 0.0.0.0 is told, not silently lost', () => {
    assert.ok(lines.some((line) => line.startsWith('problem EADDRINUSE cannot listen on 10.96.0.10:8181/TCP for service default/taken:http: port 8181 is already taken')), lines.join('\n'));
  });

  test('the route is made again when it is gone', async () => {
    ip('-n', netns.n, 'route', 'del', 'local', range, 'dev', 'lo');
    assert.is(route(), '');
    await until(() => route() !== '', 'the route is back');
    assert.is(inside('c', 'ask', 'tcp', serviceAddress, '80'), `hello ${nodeAddress}`);
  });

  test('the route goes at stop when asked', async () => {
    node!.kill('SIGTERM');
    await once(node!, 'exit');
    assert.is(node!.exitCode, 0);
    assert.is(route(), '');
  });

  if (process.getuid?.() !== 0 || process.platform !== 'linux') console.log('service range: skipped, needs root on Linux');
  else test.run();
}

/** The node: backends that say who asked, the proxy in front of them, another program on port 8181. */
async function beNode(): Promise<void> {
  const tcp = createServer((socket) => { socket.on('error', () => {}).end(`hello ${socket.remoteAddress}`); }).listen(9000, nodeAddress);
  const udp = createSocket('udp4').on('message', (_, from) => udp.send(`hello ${from.address}`, from.port, from.address));
  udp.bind(9000, nodeAddress);
  const squatter = createServer().listen(8181, '0.0.0.0');
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening'), once(squatter, 'listening')]);

  const log = createLog({ component: 'test', level: 'error' });
  const proxy = createProxy({
    clock: systemClock, log: silentLog, random: Math.random, tcp: await chooseTcpEngine({ clock: systemClock, log }),
    onProblem: (_, error) => console.log(`problem ${error.code} ${error.message}`),
  });
  const serviceRange = createServiceRange({ range, nodeAddress, clock: systemClock, log, checkMs: 100, removeAtStop: true, onChange: (holds) => { if (holds) proxy.retry(); } });
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  const listeners: Listener[] = (['TCP', 'UDP'] as const).flatMap((protocol) => [[serviceAddress, 80], [nodeAddress, 30_080], ['0.0.0.0', 30_081]].map(([address, port]) => ({
    protocol, address: String(address), port: Number(port), service: 'default/web:http', affinitySeconds: 0, backends: [{ address: nodeAddress, port: 9000 }],
  })));
  listeners.push({ protocol: 'TCP', address: serviceAddress, port: 8181, service: 'default/taken:http', affinitySeconds: 0, backends: [{ address: nodeAddress, port: 9000 }] });
  await serviceRange.ensure();
  proxy.apply(listeners);
  await proxy.settled();
  console.log(`open ${proxy.stats().listeners.open}`);
  await Promise.all([proxy.run(stop.signal), serviceRange.run(stop.signal)]);
  process.exit(0);
}

/** One question to a service; prints the answer or the error's code. A UDP socket is connected: it takes answers from the asked address only. */
async function ask(protocol: string, address: string, port: number): Promise<void> {
  if (protocol === 'udp') {
    const socket = createSocket('udp4');
    socket.connect(port, address);
    await once(socket, 'connect');
    socket.send('?');
    const [answer] = await once(socket, 'message') as [Buffer];
    console.log(String(answer));
    socket.close();
    return;
  }
  const socket = connect(port, address);
  try {
    const [answer] = await once(socket, 'data') as [Buffer];
    console.log(String(answer));
  } catch (error) {
    console.log((error as NodeJS.ErrnoException).code);
  }
  socket.destroy();
}
