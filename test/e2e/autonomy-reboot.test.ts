import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Api, containersOn, fetchOn, image, isReady, killEngine, type Seen } from './autonomy-support.ts';
import { buildBusybox, createLab, until, type Lab } from './lab.ts';

/** A host loses its power while the master is away: everything that it did it does again, and the right way round. */
const test = suite('autonomy: reboot');
const webs = Array.from({ length: 8 }, (_, index) => `web-${index}`);
const addresses = new Map<string, string>();
let lab: Lab;
let api: Api;

test.before(async () => {
  await buildBusybox();
  lab = await createLab({ hosts: 1, name: 'aboo', images: [image] });
  api = await Api.open(lab);
  const probes = {
    readinessProbe: { httpGet: { path: '/', port: 80 }, periodSeconds: 1 },
    livenessProbe: { exec: { command: ['test', '!', '-e', '/tmp/bad'] }, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 20 },
  };
  for (const [index, name] of webs.entries()) {
    await api.createPod(name, { nodeName: 'node1', containers: [{ name: 'main', image, command: ['web'], ...probes }] }, { labels: { app: name } });
    const { spec } = await api.ask<{ spec: { clusterIP: string } }>('POST', '/api/v1/namespaces/default/services', { metadata: { name }, spec: { type: 'NodePort', selector: { app: name }, ports: [{ port: 80, nodePort: 31_000 + index }] } });
    addresses.set(name, spec.clusterIP);
  }
  const one = (command: string): object[] => [{ name: 'main', image, command: [command] }];
  await api.createPod('done', { nodeName: 'node1', restartPolicy: 'OnFailure', containers: one('true') });
  await api.createPod('failed', { nodeName: 'node1', restartPolicy: 'Never', containers: one('false') });
  await api.createPod('init', { nodeName: 'node1', initContainers: [{ name: 'first', image, command: ['true'] }] });
  await until('all is well', 90_000, async () => {
    const pods = await api.pods();
    return pods.filter(isReady).length === webs.length + 1 && pods.find(({ metadata }) => metadata.name === 'done')?.status.phase === 'Succeeded' && pods.find(({ metadata }) => metadata.name === 'failed')?.status.phase === 'Failed';
  });
  await everyServiceLeadsToItsPod();
});
test.after(async () => {
  await api?.close();
  await lab?.down();
});

async function everyServiceLeadsToItsPod(): Promise<void> {
  for (const [index, name] of webs.entries()) {
    for (const url of [`http://${addresses.get(name)}/cgi-bin/whoami`, `http://10.99.0.1:${31_000 + index}/cgi-bin/whoami`]) {
      await until(`${url} leads to ${name}`, 30_000, async () => {
        const answer = await fetchOn(lab, 1, url);
        if (!answer.startsWith(`pod ${name} `)) throw new Error(answer.trim());
        return true;
      });
    }
  }
}

const mains = async (): Promise<Seen[]> => (await containersOn(lab, 1)).filter(({ container, state }) => container === 'main' && state === 'running');

test('after a power cut, with the master away, all pods and all services come back, each service to its own pod', async () => {
  await lab.killMaster();
  await lab.host('kill', 1);
  await lab.killAgent(1);
  await lab.host('start', 1);
  await lab.startAgent(1);
  await until('what ran runs', 60_000, async () => (await mains()).map(({ pod }) => pod).sort().join() === ['init', ...webs].sort().join());
  await everyServiceLeadsToItsPod();
});

test('probes and restart policies go on, and a restarted sandbox is found at its new address', async () => {
  const before = (await mains()).find(({ pod }) => pod === 'web-0')!;
  await lab.docker(1, 'exec', before.id, 'touch', '/tmp/bad');
  await until('the liveness probe has it restarted', 40_000, async () => (await mains()).some(({ pod, id }) => pod === 'web-0' && id !== before.id));
  const sandboxes = (await containersOn(lab, 1)).filter(({ container, pod }) => container === 'POD' && ['web-1', 'web-2'].includes(pod));
  await lab.docker(1, 'kill', ...sandboxes.map(({ id }) => id));
  await until('both run again', 60_000, async () => (await mains()).filter(({ pod, startedAt }) => ['web-1', 'web-2'].includes(pod) && startedAt > before.startedAt).length === 2);
  await everyServiceLeadsToItsPod();
  assert.equal((await mains()).filter(({ pod }) => pod === 'done' || pod === 'failed'), [], 'what was over stays over');
});

test('the same when the engine alone dies, and when the master is back', async () => {
  await killEngine(lab, 1);
  await lab.host('start', 1);
  await until('what ran runs', 60_000, async () => (await mains()).length === webs.length + 1);
  await everyServiceLeadsToItsPod();
  await lab.startMaster();
  await until('the master sees it', 60_000, async () => (await api.pods()).filter(isReady).length === webs.length + 1);
  await everyServiceLeadsToItsPod();
  const phases = new Map((await api.pods()).map(({ metadata, status }) => [metadata.name, `${status.phase} ${status.containerStatuses?.[0]?.restartCount}`]));
  assert.equal([phases.get('done'), phases.get('failed')], ['Succeeded 0', 'Failed 0']);
});

test.run();
