import { resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildGuestbookImages, createLab, guestbookImages, until, type Lab } from './lab.ts';

export interface GuestbookOptions {
  /** Name of the lab: at most 6 lower-case letters. */
  readonly name: string;
  /** Program that runs as agent, made or found before the lab starts; this build's by default. */
  readonly agent?: () => Promise<string>;
}

/** The guestbook on two hosts, and everything that may go wrong around it. The cases build on each other, in order. */
export function guestbook(options: GuestbookOptions): void {
  const test = suite(`guestbook ${options.name}`);
  const manifests = resolve(process.cwd(), 'manifests/guestbook');
  let lab: Lab;

  test.before(async () => {
    await buildGuestbookImages();
    const agent = await options.agent?.();
    lab = await createLab({
      hosts: 2, name: options.name, images: guestbookImages, masterFlags: ['--node-monitor-grace-period', '5'],
      ...(agent ? { agentCommand: [agent] } : {}),
    });
  });
  test.after(async () => { await lab?.down(); });

  const pods = async (selector: string, path: string): Promise<string[]> =>
    (await lab.kubectl('get', 'pods', '-l', selector, '-o', `jsonpath={range .items[*]}${path}{"\\n"}{end}`)).split('\n').filter(Boolean);
  const running = async (selector: string, count: number): Promise<boolean> => {
    const states = await pods(selector, '{.status.phase} {.metadata.deletionTimestamp} {.status.conditions[?(@.type=="Ready")].status}');
    return states.length === count && states.every((state) => /^Running\s+True$/.test(state));
  };
  const page = (host: number, path: string): Promise<string> => lab.fetch(`http://10.99.0.${host}:30001/${path}`);
  /** Container IDs by name, app containers only. */
  const containers = async (host: number): Promise<Map<string, string>> => {
    const lines = (await lab.docker(host, 'ps', '--no-trunc', '--format', '{{.Names}} {{.ID}}')).split('\n').filter((line) => line.startsWith('k8s_'));
    return new Map(lines.map((line) => line.split(' ') as [string, string]));
  };
  const allContainers = async (): Promise<Map<string, string>> => new Map([...await containers(1), ...await containers(2)]);
  const post = async (text: string): Promise<void> => {
    await until(`the page takes ${text}`, 20_000, async () => (await page(1, `guestbook.php?cmd=set&key=messages&value=${text}`)).includes('Updated'));
  };
  const readBack = (text: string): Promise<boolean> => until(`the slaves give ${text} back`, 20_000, async () => (await page(2, 'guestbook.php?cmd=get&key=messages')).includes(text));

  test('kubectl create brings the page up on both nodes', async () => {
    await lab.kubectl('create', '-f', manifests);
    await until('six pods run', 60_000, async () => await running('name in (redis-master,redis-slave,frontend)', 6));
    for (const host of [1, 2]) assert.match(await until('the page answers', 20_000, () => page(host, '')), /hello,\s*world!/);
  });

  test('what the page writes is read back from the slaves', async () => {
    await post('from-the-test');
    await readBack('from-the-test');
  });

  test('kubectl scale', async () => {
    await lab.kubectl('scale', 'rc', 'frontend', '--replicas=5');
    await until('five frontends run', 30_000, () => running('name=frontend', 5));
    await lab.kubectl('scale', 'rc', 'frontend', '--replicas=3');
    await until('three frontends are left', 45_000, () => running('name=frontend', 3));
  });

  test('a container killed outside is restarted', async () => {
    const [host, name] = await until('a frontend container is found', 10_000, async () => {
      for (const candidate of [1, 2]) {
        const found = [...(await containers(candidate)).keys()].find((key) => key.startsWith('k8s_frontend_'));
        if (found) return [candidate, found] as const;
      }
      return undefined;
    });
    const pod = name.split('_')[2]!;
    await lab.docker(host, 'kill', '-s', 'KILL', name);
    await until('it runs again, with one restart counted', 15_000, async () =>
      (await lab.kubectl('get', 'pod', pod, '-o', 'jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}')) === '1 true');
  });

  test('a deleted pod is replaced', async () => {
    const [victim] = await pods('name=frontend', '{.metadata.name}');
    await lab.kubectl('delete', 'pod', victim!);
    await until('three frontends run, the deleted one not among them', 45_000, async () =>
      await running('name=frontend', 3) && !(await pods('name=frontend', '{.metadata.name}')).includes(victim!));
  });

  test('master killed with -9 and restarted: no container restarts, no write lost', async () => {
    const before = await allContainers();
    const marks = Array.from({ length: 20 }, (_, index) => `mark-${index}`);
    await Promise.all(marks.map((mark) => lab.kubectl('create', 'configmap', mark)));
    await lab.killMaster();
    assert.match(await page(1, ''), /hello/);
    await lab.startMaster();
    const names = (await lab.kubectl('get', 'configmaps', '-o', 'name')).split('\n');
    for (const mark of marks) assert.ok(names.includes(`configmap/${mark}`), `${mark} is still there`);
    await until('nodes are Ready again', 30_000, async () => (await lab.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}')) === 'True True');
    await post('after-master-restart');
    await readBack('after-master-restart');
    assert.equal([...await allContainers()].sort(), [...before].sort());
  });

  test('agent killed with -9 and restarted: no healthy container restarts, a dead one comes back', async () => {
    const before = await containers(1);
    await lab.killAgent(1);
    const [victim] = [...before.keys()].filter((name) => !name.startsWith('k8s_POD_'));
    await lab.docker(1, 'kill', '-s', 'KILL', victim!);
    await lab.startAgent(1);
    const prefix = victim!.replace(/_\d+$/, '');
    await until('the dead container is back', 20_000, async () => [...(await containers(1)).keys()].some((name) => name.startsWith(prefix)));
    const after = await containers(1);
    for (const [name, id] of before) if (name !== victim) assert.is(after.get(name), id, `${name} is the same container`);
  });

  test('agent killed with -9 and restarted while the master is away', async () => {
    await lab.killMaster();
    const before = await containers(1);
    await lab.killAgent(1);
    const [victim] = [...before.keys()].filter((name) => name.startsWith('k8s_') && !name.startsWith('k8s_POD_'));
    await lab.docker(1, 'kill', '-s', 'KILL', victim!);
    await lab.startAgent(1);
    const prefix = victim!.replace(/_\d+$/, '');
    await until('the dead container is back', 20_000, async () => [...(await containers(1)).keys()].some((name) => name.startsWith(prefix)));
    const after = await containers(1);
    for (const [name, id] of before) if (name !== victim) assert.is(after.get(name), id, `${name} is the same container`);
    assert.match(await until('the NodePort answers', 10_000, () => page(1, '')), /hello/);
  });

  test('host reboot while the master is away: every pod and the NodePort come back', async () => {
    const before = [...(await containers(2)).keys()].filter((name) => !name.startsWith('k8s_POD_')).map((name) => name.replace(/_\d+$/, ''));
    await lab.host('kill', 2);
    await lab.killAgent(2);
    await lab.host('start', 2);
    await lab.startAgent(2);
    await until('every container of the node runs again', 40_000, async () => {
      const now = [...(await containers(2)).keys()].map((name) => name.replace(/_\d+$/, ''));
      return before.every((name) => now.includes(name));
    });
    assert.match(await until('the NodePort answers', 20_000, async () => (await page(2, '')).includes('hello') && 'hello'), /hello/);
    await lab.startMaster();
    await until('the master sees six pods running again', 60_000, () => running('name in (redis-master,redis-slave,frontend)', 6));
  });

  test('a node cut off becomes NotReady, its pods move after the toleration, and come back without duplicates', async () => {
    for (const rc of ['frontend', 'redis-slave', 'redis-master']) {
      await lab.kubectl('patch', 'rc', rc, '--type=merge', '-p', JSON.stringify({ spec: { template: { spec: { tolerations: [
        { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 3 },
        { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 3 }] } } } }));
      await lab.kubectl('delete', 'pods', '-l', `name=${rc}`, '--grace-period=1');
    }
    await until('the pods with their short toleration run', 60_000, () => running('name in (redis-master,redis-slave,frontend)', 6));
    await lab.host('cut', 2);
    await until('node2 is NotReady', 20_000, async () => (await lab.kubectl('get', 'node', 'node2', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')) === 'Unknown');
    await until('six pods run on node1', 45_000, async () => {
      const lines = await pods('name in (redis-master,redis-slave,frontend)', '{.spec.nodeName} {.status.phase} {.metadata.deletionTimestamp}');
      return lines.filter((line) => /^node1 Running\s*$/.test(line)).length === 6;
    });
    await lab.host('heal', 2);
    await until('node2 is Ready again', 60_000, async () => (await lab.kubectl('get', 'node', 'node2', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')) === 'True');
    await until('no pod and no container is there twice', 60_000, async () => {
      const left = await containers(2);
      return await running('name in (redis-master,redis-slave,frontend)', 6) && [...left.keys()].every((name) => !/_(frontend|redis)/.test(name));
    });
  });

  test('kubectl delete takes everything away', async () => {
    await lab.kubectl('delete', '-f', manifests, '--timeout=60s');
    await until('no container is left', 60_000, async () => (await allContainers()).size === 0);
  });

  test.run();
}
