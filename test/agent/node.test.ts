import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NodeReporter } from '../../agent/node.ts';
import type { Node } from '../../shared/kinds/node.ts';
import { systemClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { FakeRuntime } from '../fakes/runtime.ts';

const test = suite('node');

test('a host is reported once as a node, and again when the engine goes and comes', async () => {
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage('a:1');
  const abort = new AbortController();
  const reports: Node[] = [];
  let told = (): void => {};
  const next = (): Promise<void> => new Promise((resolve) => { told = resolve; });
  const node = new NodeReporter({
    runtime, clock: systemClock, log: silentLog, name: 'edge-1', ips: ['192.0.2.1'], kubeletVersion: 'v1.32.0', labels: { site: 'a' },
    report: (n) => { reports.push(n); told(); },
  });
  let reported = next();
  const running = node.run(abort.signal);
  await reported;
  const { metadata, status } = reports[0]!;
  assert.equal([metadata.labels?.['kubernetes.io/hostname'], metadata.labels?.['site'], status.capacity?.['pods']], ['edge-1', 'a', '110']);
  assert.equal(status.addresses, [{ type: 'InternalIP', address: '192.0.2.1' }, { type: 'Hostname', address: 'edge-1' }]);
  assert.equal(status.images, [{ names: ['a:1'], sizeBytes: 1000 }]);
  assert.equal([node.facts().taints, node.facts().labelsComplete], [[], undefined]);
  node.tainted([{ key: 'gpu', effect: 'NoExecute' }]);
  assert.equal(node.facts().taints, [{ key: 'gpu', effect: 'NoExecute' }], 'as the master says');
  assert.is(status.nodeInfo?.containerRuntimeVersion, 'docker://0');
  const ready = (n: Node) => n.status.conditions!.find((c) => c.type === 'Ready')!;
  assert.equal([ready(reports[0]!).status, ready(reports[0]!).reason], ['True', 'KubeletReady']);
  const info = runtime.info.bind(runtime);
  runtime.info = () => Promise.reject(new Error('gone'));
  reported = next();
  node.engine(false);
  await reported;
  assert.equal([ready(reports[1]!).status, ready(reports[1]!).message], ['False', 'container runtime is down']);
  runtime.info = info;
  reported = next();
  node.engine(true);
  await reported;
  assert.is(ready(reports[2]!).status, 'True');
  abort.abort();
  await running;
  assert.is(reports.length, 3);
});

test.run();
