import * as assert from 'uvu/assert';
import type { Kind, Verb } from '../../shared/kind.ts';
import type { Client, Json } from '../master/api/support.ts';

type Document = Record<string, unknown>;

const container = { name: 'c', image: 'nginx' };
const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [container] } };

/** The least that a kind takes, where that is more than a name. */
const samples: Readonly<Record<string, Document>> = {
  Pod: { spec: { containers: [container] } },
  ReplicationController: { spec: { selector: { app: 'web' }, template } },
  ReplicaSet: { spec: { selector: { matchLabels: { app: 'web' } }, template } },
  Deployment: { spec: { selector: { matchLabels: { app: 'web' } }, template } },
  DaemonSet: { spec: { selector: { matchLabels: { app: 'web' } }, template } },
  StatefulSet: { spec: { serviceName: 'web', selector: { matchLabels: { app: 'web' } }, template } },
  Job: { spec: { template: { spec: { containers: [container], restartPolicy: 'Never' } } } },
  CronJob: { spec: { schedule: '* * * * *', jobTemplate: { spec: { template: { spec: { containers: [container], restartPolicy: 'Never' } } } } } },
  Service: { spec: { ports: [{ port: 80 }] } },
  EndpointSlice: { addressType: 'IPv4', endpoints: [], ports: [] },
  Event: { involvedObject: { namespace: 'default', kind: 'Pod', name: 'web' }, reason: 'Tested', type: 'Normal', source: { component: 'test' } },
  RoleBinding: { roleRef: { kind: 'Role', name: 'reader' } },
  ClusterRoleBinding: { roleRef: { kind: 'ClusterRole', name: 'reader' } },
  PersistentVolume: { spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/data' } } },
  StorageClass: { provisioner: 'example.com/none' },
  RuntimeClass: { handler: 'runc' },
  PersistentVolumeClaim: { spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } } },
};

/** A valid document of a kind. */
export function sampleOf(kind: Kind, name: string): Document {
  return { apiVersion: kind.apiVersion, kind: kind.kind, metadata: { name, labels: { sample: 'yes' } }, ...structuredClone(samples[kind.kind] ?? {}) };
}

/** Where a kind's objects are. */
export function pathOf(kind: Kind, namespace = 'default'): string {
  const root = kind.group ? `/apis/${kind.group}/${kind.version}` : `/api/${kind.version}`;
  return kind.namespaced ? `${root}/namespaces/${namespace}/${kind.plural}` : `${root}/${kind.plural}`;
}

/** Kinds whose objects outlive their deletion: somebody else has to let go first. */
const lingering: ReadonlySet<string> = new Set(['Namespace']);

const has = (kind: Kind, ...verbs: readonly Verb[]): boolean => verbs.every((verb) => kind.verbs.includes(verb));

/** What holds for every kind: one object through create, get, list, watch, update, patch, apply and delete. */
export async function testKind(kind: Kind, client: Client): Promise<void> {
  if (!has(kind, 'create', 'get', 'list', 'watch', 'update', 'patch', 'delete')) return testAbsentVerbs(kind, client);
  const path = pathOf(kind);
  const start = await client.get(path);
  assert.is(start.json['kind'], `${kind.kind}List`);
  const watch = await client.watch(path, `resourceVersion=${String(start.json['metadata']['resourceVersion'])}&fieldSelector=metadata.name%3Dsample`);
  const created = await client.post(path, sampleOf(kind, 'sample'));
  assert.is(created.code, 201, created.text);
  assert.is((await watch.next()).type, 'ADDED');
  await testReads(kind, client, created.json);
  await testWrites(kind, client, created.json);
  for (let seen = 0; seen < 3; seen++) assert.is((await watch.next()).type, 'MODIFIED');
  await testDelete(kind, client);
  assert.is((await watch.next()).type, lingering.has(kind.kind) ? 'MODIFIED' : 'DELETED');
  watch.close();
}

async function testReads(kind: Kind, client: Client, created: Json): Promise<void> {
  const path = pathOf(kind);
  const got = await client.get(`${path}/sample`);
  assert.is(got.code, 200);
  assert.equal(got.json, created);
  assert.is(created['kind'], kind.kind);
  assert.is(created['apiVersion'], kind.apiVersion);
  assert.ok(created['metadata']['uid'] && created['metadata']['creationTimestamp'] && created['metadata']['resourceVersion']);
  assert.is(created['metadata']['managedFields']?.[0]?.['manager'], 'tester');
  const list = await client.get(path);
  assert.equal(list.json['items'].find((item: Json) => item['metadata']['name'] === 'sample'), got.json);
  await testTable(kind, client);
  const missing = await client.get(`${path}/missing`);
  assert.is(missing.code, 404);
  assert.is(missing.json['message'], `${kind.plural}${kind.group ? `.${kind.group}` : ''} "missing" not found`);
}

async function testTable(kind: Kind, client: Client): Promise<void> {
  const table = await client.get(`${pathOf(kind)}/sample`, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
  assert.is(table.json['kind'], 'Table');
  assert.equal(table.json['columnDefinitions'].map((column: Json) => column['name']), kind.columns.map(({ name }) => name));
  assert.is(table.json['rows'][0]['cells'].length, kind.columns.length);
}

async function testWrites(kind: Kind, client: Client, created: Json): Promise<void> {
  const at = `${pathOf(kind)}/sample`;
  const metadata = created['metadata']!;
  const updated = await client.put(at, { ...(created as object), metadata: { ...(metadata as object), labels: { sample: 'yes', updated: 'yes' } } });
  assert.is(updated.code, 200, updated.text);
  assert.is(updated.json['metadata']['labels']['updated'], 'yes');
  assert.is(updated.json['metadata']['uid'], metadata['uid']);
  const stale = await client.put(at, created);
  assert.is(stale.code, 409, stale.text);
  const patched = await client.patch(at, 'merge-patch+json', { metadata: { annotations: { patched: 'yes' } } });
  assert.is(patched.code, 200, patched.text);
  const same = await client.patch(at, 'merge-patch+json', { metadata: { annotations: { patched: 'yes' } } });
  assert.is(same.json['metadata']['resourceVersion'], patched.json['metadata']['resourceVersion'], 'a patch that changes nothing writes nothing');
  const applied = await client.patch(`${at}?fieldManager=applier`, 'apply-patch+yaml', { apiVersion: kind.apiVersion, kind: kind.kind, metadata: { name: 'sample', labels: { applied: 'yes' } } });
  assert.is(applied.code, 200, applied.text);
  assert.is(applied.json['metadata']['labels']['applied'], 'yes');
  const absent = await client.put(`${pathOf(kind)}/other`, sampleOf(kind, 'other'));
  assert.is(absent.code, 404, 'an update creates nothing');
}

async function testDelete(kind: Kind, client: Client): Promise<void> {
  const at = `${pathOf(kind)}/sample`;
  const dry = await client.delete(`${at}?dryRun=All`);
  assert.is(dry.code, 200, dry.text);
  assert.is((await client.get(at)).code, 200);
  const wrong = await client.delete(at, { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { uid: 'other' } });
  assert.is(wrong.code, 409);
  const deleted = await client.delete(at, { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0, propagationPolicy: 'Background' });
  assert.is(deleted.code, 200, deleted.text);
  assert.is((await client.get(at)).code, lingering.has(kind.kind) ? 200 : 404);
}

/** Kinds that are only posted answer other verbs with 405. */
async function testAbsentVerbs(kind: Kind, client: Client): Promise<void> {
  if (has(kind, 'list')) return;
  const answer = await client.get(pathOf(kind));
  assert.is(answer.code, 405);
  assert.is(answer.json['message'], 'the server does not allow this method on the requested resource');
}
