import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endpoints } from '../../../shared/kinds/endpoints.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods, type Pod } from '../../../shared/kinds/pod.ts';
import { replicationControllers } from '../../../shared/kinds/replicationcontroller.ts';
import { services } from '../../../shared/kinds/service.ts';
import { silentLog } from '../../../shared/log.ts';
import { admissions } from '../../../master/admission/index.ts';
import { controllers } from '../../../master/controllers/index.ts';
import { plugins } from '../../../master/scheduler/plugins/index.ts';
import { Scheduler } from '../../../master/scheduler/scheduler.ts';
import { Cluster, rcDocument, realClock } from './cluster.ts';

const test = suite('all controllers together');

/** An agent in two lines: registers its node, and reports as running whatever is bound to it. */
async function agent(cluster: Cluster, name: string, address: number): Promise<void> {
  await cluster.create(nodes, '', { metadata: { name } });
  const condition = { type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: new Date().toISOString() };
  await cluster.registry.modify(nodes, '', name, (node) => ({ ...node, status: { ...node.status, conditions: [condition], allocatable: { cpu: '4', memory: '8Gi', pods: '110' } } }), { subresource: 'status' });
  let last = 1;
  cluster.registry.changes(cluster.registry.store.revision, (changes) => {
    for (const { kind, type, object } of changes) {
      const pod = object as Pod;
      if (kind.plural !== 'pods' || type === 'DELETED' || pod.spec.nodeName !== name) continue;
      const { namespace = '', name: podName = '', deletionTimestamp } = pod.metadata;
      if (deletionTimestamp) void cluster.registry.delete(pods, namespace, podName, { gracePeriodSeconds: 0 }).catch(() => {});
      else if (!pod.status.podIP) {
        const podIP = `10.244.${address}.${++last}`;
        void cluster.report(pod, { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions: [{ type: 'Ready', status: 'True' }] }).catch(() => {});
      }
    }
  }, cluster.signal);
}

test('a service and its replicas come up, grow, shrink and go with their namespace', async () => {
  const cluster = new Cluster({ admissions: (made) => admissions({ registry: made, clock: realClock }) });
  const { registry, recorder, clock } = cluster;
  await cluster.start(controllers(), (signal) => new Scheduler({ registry, recorder, clock, log: silentLog, plugins }).run(signal));
  await cluster.until(() => registry.find(namespaces, '', 'default'));
  await cluster.create(namespaces, '', { metadata: { name: 'shop' } });
  await Promise.all([agent(cluster, 'a', 1), agent(cluster, 'b', 2)]);
  await cluster.create(services, 'shop', { metadata: { name: 'web' }, spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 'http' }] } });
  await cluster.create(replicationControllers, 'shop', rcDocument('web', 4));
  const addresses = (): number => registry.find(endpoints, 'shop', 'web')?.subsets?.[0]?.addresses?.length ?? 0;
  await cluster.until(() => addresses() === 4);
  assert.equal(['a', 'b'].map((node) => cluster.pods('shop').filter((pod) => pod.spec.nodeName === node).length), [2, 2]);
  const scale = (replicas: number) => registry.modify(replicationControllers, 'shop', 'web', (rc) => ({ ...rc, spec: { ...rc.spec, replicas } }));
  await scale(1);
  await cluster.until(() => addresses() === 1 && cluster.pods('shop').length === 1);
  await scale(6);
  await cluster.until(() => registry.get(replicationControllers, 'shop', 'web').object.status.availableReplicas === 6 && addresses() === 6);
  await registry.delete(namespaces, '', 'shop');
  await cluster.until(() => !registry.find(namespaces, '', 'shop'));
  assert.is(cluster.pods('shop').length, 0);
  assert.is([...registry.store.range('claims/ip/')].length, 1, 'only the API\'s own service keeps its address');
  await cluster.stop();
});

test.run();
