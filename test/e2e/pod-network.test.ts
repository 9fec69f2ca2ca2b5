import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBusybox, createLab, run, until, type Lab } from './lab.ts';

/**
 * Two hosts whose engines number their bridge alike, as engines do: pods get the cluster's addresses, reach each other by
 * them, and through services also where no packet passes between the hosts.
 */
const test = suite('pod network');
const image = 'wherry-test/busybox';
const clusterCIDR = '10.50.0.0/16';
const bytes = 100 * 1024 * 1024;
let lab: Lab;

const server = (port: number): string => `
  mkdir -p /w/cgi-bin; printf '#!/bin/sh\\necho\\necho $REMOTE_ADDR\\n' >/w/cgi-bin/from; chmod +x /w/cgi-bin/from
  httpd -p ${port} -h /w; trap 'exit 0' TERM; while true; do sleep 1; done`;
const idle = "trap 'exit 0' TERM; while true; do sleep 1; done";

const pod = (name: string, host: number, script: string, hostNetwork = false): object => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } },
  spec: { nodeName: `node${host}`, hostNetwork, terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image, imagePullPolicy: 'Never', command: ['sh', '-c', script] }] },
});
const service = (name: string, port: number): object => ({
  apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector: { app: name }, ports: [{ port: 80, targetPort: port }] },
});

const get = (jsonpath: string, ...what: string[]): Promise<string> => lab.kubectl('get', ...what, '-o', `jsonpath={${jsonpath}}`);
const podIP = (name: string): Promise<string> => get('.status.podIP', 'pod', name);
const clusterIP = (name: string): Promise<string> => get('.spec.clusterIP', 'service', name);

/** What a container gets for a page; through its engine, so that it works without a master. */
async function fetch(host: number, name: string, url: string, seconds = 10): Promise<string> {
  const id = (await lab.docker(host, 'ps', '-q', '--filter', `name=k8s_main_${name}_default_`)).trim();
  return (await lab.docker(host, 'exec', id, 'timeout', String(seconds), 'wget', '-q', '-O', '-', url)).trim().replace(/^\[::ffff:(.*)\]$/, '$1');
}

/** Drops what hosts send to each other's pods; `-D` lets it pass again. */
async function cut(how: '-I' | '-D'): Promise<void> {
  for (const host of [1, 2]) await lab.on(host, 'iptables', '-w', '10', '-t', 'mangle', how, 'PREROUTING', '-i', 'eth0', '-d', clusterCIDR, '-j', 'DROP');
}

test.before(async () => {
  await buildBusybox();
  process.env['LAB_DOCKERD'] = '--bip 172.17.0.1/16 --ip-masq=true';
  lab = await createLab({ hosts: 2, name: 'podn', images: [image], masterFlags: ['--cluster-cidr', clusterCIDR] });
  const items = [
    pod('near', 1, idle), pod('near-host', 1, idle, true), pod('far', 2, server(8080)), pod('far-host', 2, server(8081), true),
    service('far', 8080), service('far-host', 8081),
  ];
  await lab.kubectlWith(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }), 'apply', '-f', '-');
  await lab.kubectl('wait', '--for=condition=Ready', '--timeout=120s', 'pod', '--all');
});

test.after(async () => {
  delete process.env['LAB_DOCKERD'];
  await lab?.down();
});

test('pods have addresses of their node\'s podCIDR although the engines\' bridges are numbered alike', async () => {
  for (const [name, node] of [['near', 'node1'], ['far', 'node2']] as const) {
    const cidr = await get('.spec.podCIDR', 'node', node);
    assert.ok((await podIP(name)).startsWith(cidr.replace(/0\/24$/, '')), `${name}: ${await podIP(name)} is not of ${cidr}`);
  }
});

test('a pod reaches a pod on another node by its address, and is seen with its own', async () => {
  assert.is(await fetch(1, 'near', `http://${await podIP('far')}:8080/cgi-bin/from`), await podIP('near'));
});

test('host-network pods reach pods on other nodes, and are reached by them', async () => {
  assert.is(await fetch(1, 'near-host', `http://${await podIP('far')}:8080/cgi-bin/from`), '10.99.0.1');
  assert.is(await fetch(1, 'near', 'http://10.99.0.2:8081/cgi-bin/from'), '10.99.0.1');
});

test('a service leads straight to the other node while there is a way', async () => {
  assert.is(await fetch(1, 'near', `http://${await clusterIP('far')}/cgi-bin/from`), '10.99.0.1');
  assert.is(await fetch(1, 'near', `http://${await clusterIP('far-host')}/cgi-bin/from`), '10.99.0.1');
});

test('where no packet passes, services still lead there, byte-exact, in little memory, and the link stays free', async () => {
  const far = (await lab.docker(2, 'ps', '-q', '--filter', 'name=k8s_main_far_default_')).trim();
  await lab.docker(2, 'exec', far, 'sh', '-c', `head -c ${bytes} /dev/urandom >/w/big`);
  const sum = (await lab.docker(2, 'exec', far, 'md5sum', '/w/big')).split(' ')[0];
  await cut('-I');
  const ip = await clusterIP('far');
  assert.is.not(await fetch(1, 'near', `http://${await podIP('far')}:8080/cgi-bin/from`, 2).catch(() => 'no way'), await podIP('near'));
  const gateway = (await podIP('far')).replace(/\d+$/, '1');
  assert.is(await fetch(1, 'near', `http://${ip}/cgi-bin/from`), gateway, 'its own node\'s agent is who asks');
  const before = await memory();
  const near = (await lab.docker(1, 'ps', '-q', '--filter', 'name=k8s_main_near_default_')).trim();
  let over = false;
  const copying = lab.docker(1, 'exec', near, 'sh', '-c', `wget -q -O - http://${ip}/big | md5sum`).finally(() => { over = true; });
  let most = before;
  let rounds = 0;
  while (!over) {
    // Assignments and statuses of both nodes, while the stream fills the same sockets.
    await Promise.all(['near', 'far'].map((name) => lab.kubectl('exec', name, '--request-timeout=20s', '--', 'true')));
    most = Object.fromEntries(Object.entries(await memory()).map(([name, kib]) => [name, Math.max(kib, most[name] ?? 0)]));
    rounds++;
  }
  assert.is((await copying).split(' ')[0], sum);
  assert.ok(rounds > 0);
  for (const [name, kib] of Object.entries(most)) assert.ok(kib - before[name]! < 48 * 1024, `${name} grew from ${before[name]} to ${kib} KiB`);
  assert.is(await get('.status.conditions[?(@.type=="Ready")].status', 'node', 'node1'), 'True');
  await cut('-D');
});

test('once there is a way again, it is taken again', async () => {
  const ip = await clusterIP('far');
  await until('the service leads straight again', 120_000, async () => (await fetch(1, 'near', `http://${ip}/cgi-bin/from`)) === '10.99.0.1', 1000);
});

test('without a master, routes come back with the agent, and foreign ones stay', async () => {
  const farIP = await podIP('far');
  const cidr = await get('.spec.podCIDR', 'node', 'node2');
  await lab.killMaster();
  await lab.killAgent(1);
  await lab.on(1, 'ip', 'route', 'del', cidr);
  await lab.on(1, 'ip', 'route', 'add', '10.50.200.0/24', 'via', '10.99.0.2');
  await lab.startAgent(1);
  await until('the route is back', 60_000, async () => (await lab.on(1, 'ip', 'route', 'show', cidr)).includes('via 10.99.0.2'));
  assert.match(await fetch(1, 'near', `http://${farIP}:8080/cgi-bin/from`), /^10\.50\./);
  assert.match(await lab.on(1, 'ip', 'route', 'show', '10.50.200.0/24'), 'via 10.99.0.2');
});

test('a node that goes takes its route with it', async () => {
  await lab.startMaster();
  const cidr = await get('.spec.podCIDR', 'node', 'node2');
  await lab.killAgent(2);
  await lab.kubectl('delete', 'node', 'node2');
  await until('the route is gone', 90_000, async () => (await lab.on(1, 'ip', 'route', 'show', cidr)).trim() === '');
});

test('purged, an agent leaves no network, route or rule behind, and foreign ones stay', async () => {
  const [cidr, dataDir] = [await get('.spec.podCIDR', 'node', 'node1'), join(lab.directory, 'agent2')];
  const rules = async (): Promise<string> => `${await lab.on(2, 'iptables', '-S', 'DOCKER-USER')}${await lab.on(2, 'iptables', '-t', 'nat', '-S', 'POSTROUTING')}`;
  const networks = (): Promise<string> => lab.docker(2, 'network', 'ls', '--format', '{{.Name}}', '--filter', `label=io.wherry.owner=${dataDir}`);
  await lab.on(2, 'ip', 'route', 'add', '10.50.201.0/24', 'via', '10.99.0.1');
  assert.match(await lab.on(2, 'ip', 'route', 'show', cidr), 'proto 87');
  assert.match(await rules(), clusterCIDR);
  assert.match(await networks(), /^wherry-/);
  const module = (path: string): string => JSON.stringify(join(fileURLToPath(new URL('../../agent/', import.meta.url)), path));
  const script = `const [{ purge }, { DockerRuntime }] = await Promise.all([import(${module('ops/purge.js')}), import(${module('runtime/docker.js')})]);
    await purge({ dataDir: ${JSON.stringify(dataDir)}, runtime: new DockerRuntime({ host: ${JSON.stringify(`unix://${lab.engines}/2/docker.sock`)} }), report: console.log });`;
  const out = await lab.on(2, process.execPath, '--input-type=module', '-e', script);
  for (const what of [/removed the network wherry-/, new RegExp(`removed the route to ${cidr} via 10\\.99\\.0\\.1`), /removed the rule DOCKER-USER/]) assert.match(out, what);
  assert.is((await lab.on(2, 'ip', 'route', 'show', cidr)).trim(), '');
  assert.not.match(await rules(), clusterCIDR);
  assert.is((await networks()).trim(), '');
  assert.match(await lab.on(2, 'ip', 'route', 'show', '10.50.201.0/24'), 'via 10.99.0.1');
});

/** Resident KiB of master and agents. */
async function memory(): Promise<Record<string, number>> {
  const lines = (await run('ps', ['-eo', 'rss=,args='])).split('\n').filter((line) => line.includes(lab.directory) && line.includes(' --data-dir ') && /main\.js/.test(line));
  const found: Record<string, number> = {};
  for (const line of lines) {
    const name = /--data-dir \S*\/(master|agent\d)/.exec(line)?.[1];
    if (name && !line.includes(' token ')) found[name] = Number(line.trim().split(/\s+/)[0]);
  }
  return found;
}

test.run();
