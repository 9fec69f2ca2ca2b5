import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod } from '../../shared/kinds/pod.ts';
import { buildBusybox, createLab, until, type Lab } from './lab.ts';

/** A node whose engine's disk is full: one host with an engine of its own. */
const test = suite('resources: disk');
const image = 'wherry-test/busybox:1';
let lab: Lab;

const pod = (name: string, script: string): object => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name },
  spec: { nodeName: 'node1', terminationGracePeriodSeconds: 1, restartPolicy: 'Never', containers: [{ name: 'main', image, imagePullPolicy: 'Never', command: ['sh', '-c', script] }] },
});
const get = async (name: string): Promise<Pod> => JSON.parse(await lab.kubectl('get', 'pod', name, '-o', 'json')) as Pod;
const endOf = async (name: string): Promise<unknown[]> => {
  const { status } = await get(name);
  return [status?.phase, status?.containerStatuses?.[0]?.state?.terminated?.exitCode, status?.containerStatuses?.[0]?.restartCount];
};

test.before(async () => {
  await buildBusybox();
  lab = await createLab({ hosts: 1, name: 'rdsk', images: [image] });
});
test.after(() => lab?.down());

test('what nobody uses is removed from a full engine\'s disk first; images that pods name are kept, and pods that have written little', async () => {
  await lab.kubectlWith(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [pod('stays', 'exec stay'), pod('done', 'exit 3'), pod('writer', 'head -c 9000000 /dev/zero >/file; exec stay')] }), 'apply', '-f', '-');
  await lab.kubectl('wait', '--for=condition=Ready', 'pod/stays', 'pod/writer', '--timeout=120s');
  await until('done has ended', 60_000, async () => (await endOf('done'))[0] === 'Failed');
  // Of no pod, and no other image by another name.
  const id = (await lab.docker(1, 'create', image, 'true')).trim();
  await lab.docker(1, 'commit', '-c', 'ENV nobody=uses', id, 'unused/image:1');
  await lab.docker(1, 'rm', id);
  await lab.killAgent(1);
  // No disk has as much as this.
  await lab.startAgent(1, '--eviction-hard', 'imagefs.available<99.99%');
  await until('the unused image has gone', 60_000, async () => !(await lab.docker(1, 'images', '--format', '{{.Repository}}')).includes('unused'));
  await until('so has what was left of the pod that has ended', 60_000, async () => !(await lab.docker(1, 'ps', '-a', '--format', '{{.Names}}')).includes('_done_'));
  assert.equal(await endOf('done'), ['Failed', 3, 0], 'how it ended is still known');
  await until('who has written most goes', 60_000, async () => (await get('writer')).status?.reason === 'Evicted');
  assert.match((await get('writer')).status!.message!, /^The node was low on resource: ephemeral-storage\. Threshold quantity: \w+, available: \w+\. Container main was using \w+, request is 0, has larger consumption of ephemeral-storage\. $/);
  assert.match(await lab.docker(1, 'images', '--format', '{{.Repository}}:{{.Tag}}'), /wherry-test\/busybox:1/);
  assert.is((await get('stays')).status?.phase, 'Running');
});

test.run();
