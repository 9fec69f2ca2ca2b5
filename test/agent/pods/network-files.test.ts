import { appendFile, readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { podOf } from '../../fakes/pod.ts';
import { FakeNode } from './fake-node.ts';

/** The files that a pod's containers share, on a fake engine. */
const test = suite('network-files');
const cluster = () => ({ servers: ['10.96.0.10'], domain: 'cluster.local' });

/** Source of what a container of a pod has mounted at a path; undefined where nothing is. */
function mounted(node: FakeNode, pod: string, container: string, path: string): string | undefined {
  const id = node.containers(pod).find(({ labels, state }) => labels['io.kubernetes.container.name'] === container && state === 'running')?.id;
  return node.runtime.held.get(id ?? '')?.options.HostConfig.Mounts?.find(({ Target }) => Target === path)?.Source;
}

test('containers share both files, but for those that mount something of their own there', async () => {
  const node = new FakeNode();
  await node.start({ cluster });
  await node.assign(podOf('p', {
    volumes: [{ name: 'own', emptyDir: {} }],
    containers: [{ name: 'a', image: 'a:1' }, { name: 'b', image: 'a:1', volumeMounts: [{ name: 'own', mountPath: '/etc/hosts' }] }],
  }));
  await node.pass(2000);
  const hosts = mounted(node, 'p', 'a', '/etc/hosts')!;
  assert.match(await readFile(hosts, 'utf8'), new RegExp(`^${node.status('p').podIP?.replaceAll('.', '\\.')}\tp$`, 'm'));
  assert.match(await readFile(mounted(node, 'p', 'a', '/etc/resolv.conf')!, 'utf8'), 'nameserver 10.96.0.10\n');
  assert.is(mounted(node, 'p', 'b', '/etc/resolv.conf'), mounted(node, 'p', 'a', '/etc/resolv.conf'));
  assert.match(mounted(node, 'p', 'b', '/etc/hosts')!, /volumes\/own$/);
  await node.cleanUp();
});

test('what a container did to the file is gone when it starts again', async () => {
  const node = new FakeNode();
  await node.start({ cluster });
  await node.assign(podOf('p', { containers: [{ name: 'a', image: 'a:1' }] }));
  await node.pass(2000);
  const hosts = mounted(node, 'p', 'a', '/etc/hosts')!;
  const before = await readFile(hosts, 'utf8');
  await appendFile(hosts, '192.0.2.1 mine\n');
  await node.crash('p');
  await node.pass(20_000);
  assert.is(await readFile(mounted(node, 'p', 'a', '/etc/hosts')!, 'utf8'), before);
  await node.cleanUp();
});

test('a name that is too long for Linux fails the sandbox in the kubelet\'s words; a cluster without DNS is told of', async () => {
  const node = new FakeNode();
  await node.start();
  await node.assign(podOf('long', { hostname: 'h'.repeat(60), subdomain: 'sub', setHostnameAsFQDN: true, containers: [{ name: 'a', image: 'a:1' }] }), podOf('p', { containers: [{ name: 'a', image: 'a:1' }] }));
  await node.pass(2000);
  const messages = [...node.events.values()].map(({ reason, message }) => `${reason} ${message}`);
  assert.ok(messages.some((text) => text.startsWith('FailedCreatePodSandBox') && text.includes('is too long (64 characters is the max')), messages.join('\n'));
  assert.is(messages.filter((text) => text.startsWith('MissingClusterDNS')).length, 1);
  await node.cleanUp();
});

test.run();
