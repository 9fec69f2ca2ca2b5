import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { replicationControllers } from '../../shared/kinds/replicationcontroller.ts';
import { replication } from '../../master/controllers/replication.ts';
import { isActive } from '../../master/controllers/pod.ts';
import { Cluster, podDocument, rcDocument, ready } from '../master/controllers/cluster.ts';
import { seeded, type Random } from './random.ts';

const test = suite('replication properties');

const active = (cluster: Cluster): Pod[] => cluster.pods().filter((pod) => isActive(pod) && pod.metadata.labels?.['app'] === 'web');
const desired = (cluster: Cluster): number => cluster.registry.get(replicationControllers, 'default', 'web').object.spec.replicas;

/** Fails as soon as a committed state has more of the controller's own active pods than were ever wanted at once. */
function watchForExcess(cluster: Cluster, limit: () => number): () => void {
  let worst = '';
  const own = (): number => active(cluster).filter((pod) => pod.metadata.ownerReferences?.length && !pod.metadata.name?.startsWith('orphan')).length;
  cluster.registry.changes(cluster.registry.store.revision, () => {
    if (own() > limit()) worst ||= `${own()} pods where at most ${limit()} were wanted`;
  }, cluster.signal);
  return () => assert.is(worst, '');
}

/** Something that happens to pods or to the controller from outside. */
async function disturb(cluster: Cluster, random: Random, wanted: (replicas: number) => void): Promise<void> {
  const { registry } = cluster;
  const pod = active(cluster)[random.below(Math.max(1, active(cluster).length))];
  const name = pod?.metadata.name ?? '';
  switch (random.below(6)) {
    case 0: {
      const replicas = random.below(12);
      wanted(replicas);
      await registry.modify(replicationControllers, 'default', 'web', (rc) => ({ ...rc, spec: { ...rc.spec, replicas } }));
      return;
    }
    case 1: if (pod) await registry.delete(pods, 'default', name); return;
    case 2: if (pod) await cluster.report(pod, { phase: random.one(['Failed', 'Succeeded']) }); return;
    case 3: if (pod) await cluster.report(pod, ready('10.0.0.1')); return;
    case 4: if (pod) await registry.modify(pods, 'default', name, (current) => ({ ...current, metadata: { ...current.metadata, labels: { app: 'lost' } } })); return;
    default: await registry.create(pods, 'default', podDocument(`orphan-${Math.floor(random.next() * 1e9)}`, {}, { labels: { app: 'web' } }));
  }
}

for (let seed = 1; seed <= 10; seed++) {
  test(`never creates too many and settles on what is wanted (seed ${seed})`, async () => {
    const random = seeded(seed);
    const cluster = new Cluster({ random: random.next });
    await cluster.start([replication]);
    let most = 5;
    const noExcess = watchForExcess(cluster, () => most);
    await cluster.create(replicationControllers, 'default', rcDocument('web', 5));
    for (let round = 0; round < 60; round++) {
      await disturb(cluster, random, (replicas) => { most = Math.max(most, replicas); }).catch(() => {});
      await cluster.settle(random.below(4));
    }
    await cluster.until(() => active(cluster).length === desired(cluster), `${desired(cluster)} active pods`);
    await cluster.settle();
    assert.is(active(cluster).length, desired(cluster));
    noExcess();
    await cluster.stop();
  });
}

test.run();
