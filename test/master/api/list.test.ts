import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { gunzipSync } from 'node:zlib';
import { configMap, configMaps, openLab, pod, pods, type Json, type Lab } from './support.ts';

const test = suite<{ lab: Lab }>('lists');

test.before.each(async (context) => { context.lab = await openLab(); });
test.after.each(({ lab }) => lab.close());

const names = (list: Json): string[] => list.items.map((item: Json) => item.metadata.name);

async function make(lab: Lab, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const answer = await lab.client.post(configMaps, configMap(`c${n}`, { n: String(n) }, { parity: n % 2 ? 'odd' : 'even' }));
    assert.is(answer.code, 201);
  }
}

test('an empty list has items and a revision', async ({ lab }) => {
  const { json } = await lab.client.get(configMaps);
  assert.equal(json.items, []);
  assert.is(json.metadata.resourceVersion, String(lab.store.revision));
});

test('pages show one snapshot, whatever is written between them', async ({ lab }) => {
  await make(lab, 5);
  const first = await lab.client.get(`${configMaps}?limit=2`);
  assert.equal(names(first.json), ['c0', 'c1']);
  assert.is(first.json.metadata.remainingItemCount, 3);
  await lab.client.delete(`${configMaps}/c2`);
  await lab.client.post(configMaps, configMap('c22'));
  const second = await lab.client.get(`${configMaps}?limit=2&continue=${first.json.metadata.continue}`);
  assert.equal(names(second.json), ['c2', 'c3']);
  assert.is(second.json.metadata.resourceVersion, first.json.metadata.resourceVersion);
  const third = await lab.client.get(`${configMaps}?limit=2&continue=${second.json.metadata.continue}`);
  assert.equal(names(third.json), ['c4']);
  assert.is(third.json.metadata.continue, undefined);
  assert.is(third.json.metadata.remainingItemCount, undefined);
});

test('a page whose revision was compacted is 410 with a token for the rest', async ({ lab }) => {
  await make(lab, 4);
  const first = await lab.client.get(`${configMaps}?limit=2`);
  await lab.client.delete(`${configMaps}/c3`);
  await lab.store.compact(lab.store.revision);
  const gone = await lab.client.get(`${configMaps}?limit=2&continue=${first.json.metadata.continue}`);
  assert.is(gone.code, 410);
  assert.is(gone.json.reason, 'Expired');
  assert.match(gone.json.message, /^The provided continue parameter is too old to display a consistent list result\. You can start a new list without the continue parameter, or use the continue token in this response/);
  const rest = await lab.client.get(`${configMaps}?limit=2&continue=${gone.json.metadata.continue}`);
  assert.equal(names(rest.json), ['c2']);
});

test('label selectors, also over pages, without a count of what remains', async ({ lab }) => {
  await make(lab, 6);
  assert.equal(names((await lab.client.get(`${configMaps}?labelSelector=parity%3Dodd`)).json), ['c1', 'c3', 'c5']);
  assert.equal(names((await lab.client.get(`${configMaps}?labelSelector=parity+in+(even),missing!%3Dx`)).json), ['c0', 'c2', 'c4']);
  const page = await lab.client.get(`${configMaps}?labelSelector=parity%3Dodd&limit=1`);
  assert.equal(names(page.json), ['c1']);
  assert.is(page.json.metadata.remainingItemCount, undefined);
  assert.equal(names((await lab.client.get(`${configMaps}?labelSelector=parity%3Dodd&limit=5&continue=${page.json.metadata.continue}`)).json), ['c3', 'c5']);
});

test('field selectors: name, namespace, the kind\'s own, and none other', async ({ lab }) => {
  await make(lab, 3);
  await lab.client.post(pods, pod('web'));
  assert.equal(names((await lab.client.get(`${configMaps}?fieldSelector=metadata.name%3Dc1`)).json), ['c1']);
  assert.equal(names((await lab.client.get('/api/v1/configmaps?fieldSelector=metadata.name%3Dc1')).json), ['c1']);
  assert.equal(names((await lab.client.get('/api/v1/configmaps?fieldSelector=metadata.namespace%3Dother')).json), []);
  assert.equal(names((await lab.client.get(`${configMaps}?fieldSelector=metadata.name!%3Dc1`)).json), ['c0', 'c2']);
  assert.equal(names((await lab.client.get(`${pods}?fieldSelector=spec.nodeName%3D`)).json), ['web']);
  const bad = await lab.client.get(`${pods}?fieldSelector=spec.color%3Dred`);
  assert.is(bad.code, 400);
  assert.is(bad.json.message, 'field label not supported: spec.color');
  const unknown = await lab.client.get(`${configMaps}?fieldSelector=data.n%3D1`);
  assert.is(unknown.json.message, '"data.n" is not a known field selector: only "metadata.name", "metadata.namespace"');
});

test('resourceVersion and resourceVersionMatch', async ({ lab }) => {
  await make(lab, 2);
  const then = lab.store.revision;
  await make(lab, 0);
  await lab.client.post(configMaps, configMap('later'));
  const exact = await lab.client.get(`${configMaps}?resourceVersion=${then}&resourceVersionMatch=Exact`);
  assert.equal(names(exact.json), ['c0', 'c1']);
  assert.is(exact.json.metadata.resourceVersion, String(then));
  assert.is(names((await lab.client.get(`${configMaps}?resourceVersion=${then}&resourceVersionMatch=NotOlderThan`)).json).length, 3);
  assert.is(names((await lab.client.get(`${configMaps}?resourceVersion=0`)).json).length, 3);
  const future = await lab.client.get(`${configMaps}?resourceVersion=9999`);
  assert.is(future.code, 504);
  assert.is(future.json.message, `Timeout: Too large resource version: 9999, current: ${lab.store.revision}`);
  assert.is(future.json.details.causes[0].reason, 'ResourceVersionTooLarge');
  await lab.store.compact(lab.store.revision);
  const old = await lab.client.get(`${configMaps}?resourceVersion=${then}&resourceVersionMatch=Exact`);
  assert.is(old.code, 410);
  assert.is(old.json.message, 'The resourceVersion for the provided list is too old.');
});

test('what is wrong with a query is said in Kubernetes\' words', async ({ lab }) => {
  const cases: readonly [string, number, string][] = [
    ['limit=x', 400, 'strconv.ParseInt: parsing "x": invalid syntax'],
    ['resourceVersion=x', 400, 'invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax'],
    ['resourceVersionMatch=Exact', 422, 'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided'],
    ['resourceVersionMatch=Exact&resourceVersion=0', 422, 'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'],
    ['resourceVersionMatch=No&resourceVersion=1', 422, 'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Unsupported value: "No": supported values: "", "Exact", "NotOlderThan"'],
    ['sendInitialEvents=true', 422, 'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list'],
    ['continue=abc%25', 400, 'invalid continue token: continue key is not valid: illegal base64 data at input byte 0'],
    ['labelSelector=a%3D%3D%3Db', 400, "unable to parse requirement: found '=', expected: identifier"],
  ];
  for (const [query, code, message] of cases) {
    const answer = await lab.client.get(`${configMaps}?${query}`);
    assert.is(answer.code, code, query);
    assert.is(answer.json.message, message);
  }
  const token = Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: 1, start: 'a\0' })).toString('base64url');
  const both = await lab.client.get(`${configMaps}?continue=${token}&resourceVersion=1`);
  assert.is(both.json.message, 'specifying resource version is not allowed when using continue');
});

test('a large list arrives whole, plain and compressed, and the server goes on meanwhile', async ({ lab }) => {
  const filler = 'x'.repeat(2000);
  await Promise.all(Array.from({ length: 2000 }, (_, n) => lab.registry.create(lab.registry.kinds.find(({ plural }) => plural === 'configmaps')!, 'default', configMap(`big${n}`, { filler }))));
  const [plain, small] = await Promise.all([lab.client.get(configMaps), lab.client.get('/healthz')]);
  assert.is(small.text, 'ok');
  assert.is(names(plain.json).length, 2000);
  assert.is(plain.headers['transfer-encoding'], 'chunked');
  const packed = await lab.client.get(configMaps, { 'accept-encoding': 'gzip' });
  assert.is(packed.headers['content-encoding'], 'gzip');
  assert.is(gunzipSync(packed.bytes).toString(), plain.text);
  assert.ok(packed.bytes.length < plain.bytes.length / 5);
});

test('a client that leaves in the middle of a list does no harm', async ({ lab }) => {
  const filler = 'x'.repeat(20_000);
  const kind = lab.registry.kinds.find(({ plural }) => plural === 'configmaps')!;
  await Promise.all(Array.from({ length: 1000 }, (_, n) => lab.registry.create(kind, 'default', configMap(`big${n}`, { filler }))));
  for (let n = 0; n < 5; n++) (await lab.client.open('GET', configMaps)).destroy();
  assert.is((await lab.client.get('/healthz')).code, 200);
});

test('lists in YAML and of metadata alone', async ({ lab }) => {
  await make(lab, 2);
  const yaml = await lab.client.get(configMaps, { accept: 'application/yaml' });
  assert.is(yaml.headers['content-type'], 'application/yaml');
  assert.match(yaml.text, /^kind: ConfigMapList\napiVersion: v1\n/);
  assert.match(yaml.text, /\n- apiVersion: v1\n  kind: ConfigMap\n/);
  const partial = await lab.client.get(configMaps, { accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1' });
  assert.is(partial.json.kind, 'PartialObjectMetadataList');
  assert.is(partial.json.apiVersion, 'meta.k8s.io/v1');
  assert.equal(Object.keys(partial.json.items[0]), ['kind', 'apiVersion', 'metadata']);
});

test('a collection is deleted as far as it is selected', async ({ lab }) => {
  await make(lab, 4);
  const deleted = await lab.client.delete(`${configMaps}?labelSelector=parity%3Deven`);
  assert.is(deleted.json.kind, 'ConfigMapList');
  assert.equal(names(deleted.json), ['c0', 'c2']);
  assert.equal(names((await lab.client.get(configMaps)).json), ['c1', 'c3']);
});

test.run();
