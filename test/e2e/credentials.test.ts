import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBusybox, createLab, until, type Lab } from './lab.ts';

/** One node's life on a real engine: renewal, a master restored from a backup, deletion, return. The cases build on each other, in order. */
const test = suite('credentials on a real engine');
const program = fileURLToPath(new URL('../../master/main.js', import.meta.url));
let lab: Lab;
let saved: string;

test.before(async () => {
  await buildBusybox();
  saved = await mkdtemp(join(tmpdir(), 'wherry-saved-'));
  lab = await createLab({ hosts: 1, name: 'cred', images: ['wherry-test/busybox:1'], masterFlags: ['--node-monitor-grace-period', '5', '--node-cert-ttl', '40s'] });
});
test.after(async () => {
  await lab?.down();
  if (saved) await rm(saved, { recursive: true, force: true });
});

const pod = (name: string): string => JSON.stringify({
  apiVersion: 'v1', kind: 'Pod', metadata: { name },
  spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'c', image: 'wherry-test/busybox:1', imagePullPolicy: 'IfNotPresent', command: ['sleep', '100000'] }] },
});
const phases = async (): Promise<string> => lab.kubectl('get', 'pods', '-o', 'jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}');
const running = (...names: string[]): Promise<boolean> => until(`these run: ${names.join(', ')}`, 60_000, async () => (await phases()).trim() === names.map((name) => `${name}=Running`).join(' '));
/** IDs of app containers by pod. */
async function containers(): Promise<Map<string, string>> {
  const lines = (await lab.docker(1, 'ps', '--no-trunc', '--format', '{{.Names}} {{.ID}}')).split('\n').filter((line) => line.startsWith('k8s_c_'));
  return new Map(lines.map((line) => line.split(' ') as [string, string]).map(([name, id]) => [name.split('_')[2]!, id]));
}
const keyOf = (): Promise<string> => lab.kubectl('get', 'node', 'node1', '-o', 'jsonpath={.metadata.annotations.wherry\\.io/public-key}');
const dataDir = (): string => dirname(lab.kubeconfig);
const wherry = (...args: string[]): Promise<string> => lab.on(0, process.execPath, program, ...args);

test('the certificate is renewed under running pods', async () => {
  for (const name of ['old', 'web']) await lab.kubectlWith(pod(name), 'create', '-f', '-');
  await running('old', 'web');
  const before = await containers();
  const key = await keyOf();
  await until('the key is another', 60_000, async () => await keyOf() !== key);
  assert.equal(await containers(), before);
  assert.match(await lab.kubectl('get', 'node', 'node1'), /Ready/);
});

test('after a restore the node converges to the backup, and healthy containers go on', async () => {
  const before = await containers();
  assert.match(await wherry('backup', join(saved, 'monday'), '--data-dir', dataDir()), /backup of revision \d+/);
  await lab.kubectlWith(pod('later'), 'create', '-f', '-');
  await lab.kubectl('delete', 'pod', 'old');
  await running('later', 'web');
  const key = await keyOf();
  await until('a key that the backup does not know', 60_000, async () => await keyOf() !== key);
  await lab.killMaster();
  await rename(dataDir(), join(saved, 'lost'));
  assert.match(await wherry('restore', join(saved, 'monday'), '--data-dir', dataDir()), /restored to/);
  await lab.startMaster();
  await running('old', 'web');
  const after = await until('the later pod is gone from the engine, the older one back', 60_000, async () => {
    const now = await containers();
    return [...now.keys()].sort().join() === 'old,web' && now;
  });
  assert.is(after.get('web'), before.get('web'), 'the same container');
});

test('a deleted node is out, keeps its containers, and is back with a token', async () => {
  const before = await containers();
  await lab.kubectl('delete', 'node', 'node1');
  await until('its pods are gone from the API', 60_000, async () => (await phases()).trim() === '');
  assert.equal(await containers(), before, 'nobody told the node to stop anything');
  assert.is(await lab.kubectl('get', 'nodes', '-o', 'name'), '', 'and it does not come back by itself');
  await lab.killAgent(1);
  await lab.startAgent(1, '--token', (await wherry('token', 'create', '--data-dir', dataDir())).trim());
  await until('it is Ready', 60_000, async () => (await lab.kubectl('get', 'nodes')).includes(' Ready'));
  await until('what the cluster does not know is gone from it', 60_000, async () => (await containers()).size === 0);
  await lab.kubectlWith(pod('new'), 'create', '-f', '-');
  await running('new');
});

test.run();
