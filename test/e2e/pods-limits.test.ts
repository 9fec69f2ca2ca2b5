import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openPki } from '../../master/pki.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { buildBusybox } from './lab.ts';
import { Bench, simplePod, testImage } from './pods-support.ts';

/** What pods may take of their node, and how they are probed and ended, on a real engine. */
const test = suite('limits, probes and ends of pods on Docker');
const bench = new Bench('wherry-e2e-limits');
const maxPids = 64;
let share = '';

test.before(async () => {
  await buildBusybox();
  share = await mkdtemp(join(tmpdir(), 'wherry-limits-'));
  await bench.start({ podMaxPids: maxPids });
});
test.after(async () => {
  await bench.cleanUp();
  await rm(share, { recursive: true, force: true });
});

const container = (name: string, script: string, more: object = {}) => ({ name, image: testImage, command: ['sh', '-c', script], ...more });
const stored = (limit: string) => ({ resources: { limits: { 'ephemeral-storage': limit } } });
const events = (name: string) => bench.events.filter(({ object }) => object.name === name);
const event = (name: string, reason: string) => events(name).find((e) => e.reason === reason);
const first = (status: PodStatus) => status.containerStatuses![0]!;

async function remove(...pods: Pod[]): Promise<void> {
  await Promise.all(pods.map(async (pod) => {
    await bench.delete(pod, 0);
    await bench.gone(pod.metadata.name!);
    await bench.state.drop(`pod/default/${pod.metadata.name}`);
  }));
}

test('who stores more than its limits allow is evicted: a container with its log, or the pod as a whole', async () => {
  const mib2 = 'head -c 2097152 /dev/zero';
  const pod = (name: string, containers: object[], spec: object = {}): Pod => simplePod(name, {}, { restartPolicy: 'Always', containers, ...spec });
  const pods = [
    pod('writer', [container('calm', 'exec stay', stored('8Mi')), container('main', `${mib2} >/file; exec stay`, stored('1Mi'))]),
    pod('logger', [container('main', `${mib2} | tr '\\0' x | fold -w 1024; exec stay`, stored('1Mi')), container('calm', 'exec stay', stored('8Mi'))]),
    pod('both', ['a', 'b'].map((name) => container(name, 'head -c 1500000 /dev/zero >/file; exec stay', stored('1Mi')))),
    pod('volume', [container('main', `${mib2} >/v/file; exec stay`, { ...stored('1Mi'), volumeMounts: [{ name: 'v', mountPath: '/v' }] })], { volumes: [{ name: 'v', emptyDir: {} }] }),
    pod('modest', [container('main', `${mib2} >/file; exec stay`, stored('8Mi'))]),
    pod('free', [container('main', `${mib2} >/file; exec stay`)]),
  ];
  await bench.assign(...pods);
  for (const [name, message] of [
    ['writer', 'Container main exceeded its local ephemeral storage limit "1Mi". '], ['logger', 'Container main exceeded its local ephemeral storage limit "1Mi". '],
    ['both', 'Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. '], ['volume', 'Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. '],
  ] as const) {
    const status = await bench.until(`${name} evicted`, () => bench.status(name).phase === 'Failed' && bench.status(name), 180_000);
    assert.equal([status.reason, status.message], ['Evicted', message], name);
    assert.equal([event(name, 'Evicted')?.type, event(name, 'Evicted')?.message], ['Warning', message], name);
    assert.not.ok(status.conditions!.some(({ type }) => type === 'DisruptionTarget'), 'its own doing, not its node\'s');
  }
  assert.equal(['modest', 'free'].map((name) => bench.status(name).phase), ['Running', 'Running']);
  await remove(...pods);
});

test('a container cannot have more processes than the node allows', async () => {
  const pod = simplePod('many', container('main', `for i in $(seq ${2 * maxPids}); do sleep 30 & done 2>/dev/termination-log; exit 1`), { restartPolicy: 'Never' });
  await bench.assign(pod);
  assert.match(first(await bench.phase('many', 'Failed')).state!.terminated!.message!, /can't fork: Resource temporarily unavailable/);
  await remove(pod);
});

/** A pod that runs a program with this machine's own node, and its libraries from the host. */
async function nodePod(name: string, program: string, more: object): Promise<Pod> {
  const node = await realpath(process.execPath);
  const paths = [...new Set(['/usr', '/lib', '/lib64', dirname(dirname(node)), share])].filter((path) => existsSync(path));
  const volumes = paths.map((path, index) => ({ name: `host-${index}`, hostPath: { path } }));
  return simplePod(name, {
    command: [node, '--v8-pool-size=1', '-e', program], volumeMounts: volumes.map(({ name: volume, hostPath: { path } }) => ({ name: volume, mountPath: path, readOnly: true })), ...more,
  }, { volumes });
}

test('an HTTPS probe takes a certificate that nobody knows, and says so of a server without TLS', async () => {
  const { authority } = await openPki(join(share, 'pki'), ['other.example']);
  await writeFile(join(share, 'key.pem'), authority.key);
  await writeFile(join(share, 'cert.pem'), authority.certificate);
  const program = (what: string) => `
    const { readFileSync } = require('fs');
    const answer = (request, response) => { response.writeHead(request.url === '/ready' ? 200 : 503); response.end(); };
    require('${what}').createServer({ key: readFileSync('${share}/key.pem'), cert: readFileSync('${share}/cert.pem') }, answer).listen(8443);`;
  const probe = { readinessProbe: { httpGet: { path: '/ready', port: 8443, scheme: 'HTTPS' }, periodSeconds: 1, timeoutSeconds: 10 } };
  const [secure, plain] = [await nodePod('secure', program('https'), probe), await nodePod('plain', program('http'), probe)];
  await bench.assign(secure, plain);
  await bench.until('ready', () => bench.status('secure').containerStatuses?.[0]?.ready, 120_000);
  const failed = await bench.until('plain', () => events('plain').find(({ message }) => message.includes('HTTP response')), 120_000);
  const { podIP } = bench.status('plain');
  assert.equal([failed.reason, failed.message], ['Unhealthy', `Readiness probe failed: Get "https://${podIP}:8443/ready": http: server gave HTTP response to HTTPS client`]);
  assert.is(bench.status('plain').containerStatuses![0]!.ready, false);
  await remove(secure, plain);
});

test('a probe\'s own grace is what its container gets, not the pod\'s, and its hook runs before', async () => {
  const folder = join(share, 'own');
  await mkdir(folder);
  const deaf = (kind: 'liveness' | 'startup') => simplePod(kind, {
    command: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'], volumeMounts: [{ name: 'share', mountPath: '/share' }],
    lifecycle: { preStop: { exec: { command: ['touch', `/share/${kind}`] } } },
    [`${kind}Probe`]: { exec: { command: ['sh', '-c', 'echo no; exit 1'] }, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 2 },
  }, { terminationGracePeriodSeconds: 600, volumes: [{ name: 'share', hostPath: { path: folder } }] });
  const pods = [deaf('liveness'), deaf('startup')];
  await bench.assign(...pods);
  for (const kind of ['liveness', 'startup']) {
    // Far less than the pod's own grace.
    const status = await bench.until('restart', () => (bench.status(kind).containerStatuses?.[0]?.restartCount ?? 0) > 0 && bench.status(kind), 120_000);
    assert.is(first(status).lastState!.terminated!.exitCode, 137);
    assert.is(event(kind, 'Killing')?.message, `Container main failed ${kind} probe, will be restarted`);
    assert.match(event(kind, 'Unhealthy')!.message, new RegExp(`^${kind === 'liveness' ? 'Liveness' : 'Startup'} probe failed: no\\n`));
    assert.ok(await stat(join(folder, kind)));
  }
  await remove(...pods);
});

/** Ends a pod, and tells how long that took, in ms. */
async function end(pod: Pod, graceSeconds: number): Promise<number> {
  const name = pod.metadata.name!;
  const begunMs = performance.now();
  await bench.delete(pod, graceSeconds);
  await bench.until(`${name} gone`, () => bench.reports.get(name)?.gone, 120_000);
  await bench.state.drop(`pod/default/${name}`);
  return performance.now() - begunMs;
}

test('hooks run before the stop signal, and what they take is of the same grace', async () => {
  const folder = join(share, 'hooks');
  await mkdir(folder);
  const hooked = (name: string, preStop: object, script: string): Pod => simplePod(name, {
    command: ['sh', '-c', script], volumeMounts: [{ name: 'share', mountPath: '/share' }], lifecycle: { preStop },
  }, { volumes: [{ name: 'share', hostPath: { path: folder } }] });
  const polite = (name: string): string => `trap 'echo TERM >>/share/${name}; exit 0' TERM; while :; do sleep 0.1; done`;
  const deaf = 'trap "" TERM; while :; do sleep 1; done';
  const exec = (...command: string[]) => ({ exec: { command } });
  const answering = `(printf 'HTTP/1.1 500 Busy\\r\\nContent-Length: 0\\r\\n\\r\\n'; sleep 1) | nc -l -p 8080 >>/share/http & ${polite('http')}`;
  const pods = {
    exec: hooked('exec', exec('sh', '-c', 'sleep 1; echo hook >>/share/exec'), polite('exec')),
    http: hooked('http', { httpGet: { path: '/bye?a=b', port: 8080, httpHeaders: [{ name: 'X-Why', value: 'end' }] } }, answering),
    sleep: hooked('sleep', { sleep: { seconds: 4 } }, polite('sleep')),
    fails: hooked('fails', exec('sh', '-c', 'echo secret; exit 3'), polite('fails')),
    refused: hooked('refused', { httpGet: { path: '/', port: 8080 } }, polite('refused')),
    shared: hooked('shared', exec('sleep', '8'), deaf),
    endless: hooked('endless', exec('sleep', '1000'), deaf),
    dozing: hooked('dozing', { sleep: { seconds: 1000 } }, deaf),
  };
  await bench.assign(...Object.values(pods));
  for (const name of Object.keys(pods)) await bench.phase(name, 'Running');
  const took = Object.fromEntries(await Promise.all(Object.entries(pods).map(async ([name, pod]) => [name, await end(pod, name === 'shared' ? 12 : name === 'endless' || name === 'dozing' ? 5 : 60)] as const)));
  const said = (name: string): Promise<string> => readFile(join(folder, name), 'utf8');
  assert.is(await said('exec'), 'hook\nTERM\n');
  const [request = '', last] = (await said('http')).split('\r\n\r\n');
  assert.match(request, /^GET \/bye\?a=b HTTP\/1\.1\r\n/);
  assert.match(request.toLowerCase(), /\r\nuser-agent: kube-lifecycle\/1\.32\r\n[^]*x-why: end/);
  assert.is(last, 'TERM\n', 'any answer will do');
  assert.not.ok(['exec', 'http', 'sleep', 'shared'].some((name) => event(name, 'FailedPreStopHook')));
  assert.ok(took['sleep']! >= 4000, `slept ${took['sleep']} ms`);
  for (const name of ['fails', 'refused']) {
    assert.equal([event(name, 'FailedPreStopHook')?.type, event(name, 'FailedPreStopHook')?.message], ['Warning', 'PreStopHook failed'], 'no word of what it said');
    assert.is(await said(name), 'TERM\n', 'it is ended all the same');
    assert.ok(took[name]! < 60_000);
  }
  // Not 8 s and then 12 s.
  assert.ok(took['shared']! >= 11_900 && took['shared']! < 19_500, `12 s of grace took ${took['shared']} ms`);
  // The hook's part ends with the grace; two seconds are left for the signal.
  for (const name of ['endless', 'dozing']) assert.ok(took[name]! >= 6900 && took[name]! < 60_000, `${name}: ${took[name]} ms`);
});

test.run();
