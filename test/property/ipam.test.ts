import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { services, type Service } from '../../shared/kinds/service.ts';
import { Cluster } from '../master/controllers/cluster.ts';
import { seeded, type Random } from './random.ts';

const test = suite('ipam properties');

/** Every address and node port in use has exactly one claim, by its user, and no other claim exists. */
function check(cluster: Cluster): void {
  const users = new Map<string, string>();
  for (const service of cluster.registry.each(services)) {
    for (const value of valuesOf(service)) {
      assert.not(users.has(value), `${value} is used by ${users.get(value)} and ${service.metadata.name}`);
      users.set(value, `core/services/default/${service.metadata.name}`);
    }
  }
  const claims = new Map<string, string>();
  for (const { key, bytes } of cluster.registry.store.range('claims/')) claims.set(key, Buffer.from(bytes).toString());
  assert.equal([...claims].sort(), [...users].sort());
}

function valuesOf({ spec }: Service): string[] {
  const ip = spec.clusterIP && spec.clusterIP !== 'None' ? [`claims/ip/${spec.clusterIP}`] : [];
  return [...ip, ...new Set((spec.ports ?? []).flatMap(({ nodePort }) => (nodePort ? [`claims/nodeport/${nodePort}`] : [])))];
}

for (let seed = 1; seed <= 12; seed++) {
  test(`never gives out a value twice, also across restarts (seed ${seed})`, async () => {
    const random = seeded(seed);
    let cluster = new Cluster({ random: random.next });
    for (let round = 0; round < 12; round++) {
      await Promise.all(Array.from({ length: 12 }, () => step(cluster, random).catch(() => {})));
      check(cluster);
      if (random.chance(0.3)) cluster = new Cluster({ random: random.next, store: cluster.registry.store });
    }
  });
}

async function step({ registry }: Cluster, random: Random): Promise<void> {
  const name = `s${random.below(8)}`;
  const type = random.one(['ClusterIP', 'NodePort']);
  // Few wishes, so that they clash.
  const clusterIP = random.chance(0.3) ? `10.96.0.${10 + random.below(3)}` : undefined;
  const nodePort = type === 'NodePort' && random.chance(0.4) ? 30_000 + random.below(4) : undefined;
  const spec = { type, ...(clusterIP ? { clusterIP } : {}), ports: [{ port: 80, ...(nodePort ? { nodePort } : {}) }] };
  const choice = random.next();
  if (choice < 0.5) await registry.create(services, 'default', { metadata: { name }, spec }, { dryRun: random.chance(0.1) });
  else if (choice < 0.75) await registry.modify(services, 'default', name, (service) => ({ ...service, spec: { ...service.spec, type, ports: spec.ports } }));
  else await registry.delete(services, 'default', name);
}

test.run();
