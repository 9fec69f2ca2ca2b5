import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openLab, type Lab } from './support.ts';

const test = suite('ephemeral containers');
const pods = '/api/v1/namespaces/default/pods';
const at = `${pods}/web/ephemeralcontainers`;
const debugContainer = (name: string, more: object = {}) => ({ name, image: 'busybox', targetContainerName: 'main', stdin: true, tty: true, ...more });
const strategic = 'strategic-merge-patch+json';
const add = (...list: object[]) => ({ spec: { ephemeralContainers: list } });

let lab: Lab;
test.before(async () => {
  lab = await openLab();
  const made = await lab.client.post(pods, { metadata: { name: 'web' }, spec: { containers: [{ name: 'main', image: 'nginx' }] } });
  assert.is(made.code, 201, made.text);
});
test.after(() => lab.close());

test('they are added by patches, as kubectl debug does, and by updates; other fields stay', async () => {
  const patched = await lab.client.patch(at, strategic, { ...add(debugContainer('one')), metadata: { labels: { a: 'b' } } });
  assert.is(patched.code, 200, patched.text);
  assert.equal(patched.json.spec.ephemeralContainers.map((c: { name: string; imagePullPolicy: string }) => [c.name, c.imagePullPolicy]), [['one', 'Always']]);
  assert.is(patched.json.metadata.labels, undefined);
  assert.is((await lab.client.patch(at, strategic, add(debugContainer('two')))).json.spec.ephemeralContainers.length, 2);
  const current = (await lab.client.get(at)).json;
  const sent = { ...current, spec: { ...current.spec, hostNetwork: true, ephemeralContainers: [...current.spec.ephemeralContainers, debugContainer('three')] } };
  const updated = await lab.client.put(at, sent);
  assert.equal([updated.code, updated.json.spec.ephemeralContainers.length, updated.json.spec.hostNetwork], [200, 3, undefined]);
  assert.is((await lab.client.put(at, sent)).code, 409, 'with an old resourceVersion');
});

test('they are added by server-side apply, which owns nothing else', async () => {
  assert.is((await lab.client.post(pods, { metadata: { name: 'applied' }, spec: { containers: [{ name: 'main', image: 'nginx' }] } })).code, 201);
  const path = `${pods}/applied/ephemeralcontainers?fieldManager=tool`;
  const config = (...list: object[]) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'applied', labels: { a: 'b' } }, ...add(...list) });
  const applied = await lab.client.patch(path, 'apply-patch+yaml', config(debugContainer('one')));
  assert.is(applied.code, 200, applied.text);
  assert.equal([applied.json.spec.ephemeralContainers.map((c: { name: string }) => c.name), applied.json.metadata.labels], [['one'], undefined]);
  const own = applied.json.metadata.managedFields.find(({ manager }: { manager: string }) => manager === 'tool');
  assert.equal([own.operation, own.subresource, Object.keys(own.fieldsV1), Object.keys(own.fieldsV1['f:spec'])], ['Apply', 'ephemeralcontainers', ['f:spec'], ['f:ephemeralContainers']]);
  const less = await lab.client.patch(path, 'apply-patch+yaml', config(debugContainer('two')));
  assert.match(less.json.message, /existing ephemeral containers "one" may not be removed/);
  assert.is((await lab.client.patch(`${pods}/nobody/ephemeralcontainers?fieldManager=tool`, 'apply-patch+yaml', { ...config(debugContainer('one')), metadata: { name: 'nobody' } })).code, 404);
});

test('they stay as they are', async () => {
  const { json: current } = await lab.client.get(at);
  const less = await lab.client.put(at, { ...current, spec: { ...current.spec, ephemeralContainers: current.spec.ephemeralContainers.filter(({ name }: { name: string }) => name !== 'one') } });
  assert.equal([less.code, less.json.message], [422, 'Pod "web" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers "one" may not be removed\n']);
  const other = await lab.client.patch(at, strategic, add(debugContainer('one', { image: 'alpine' })));
  assert.match(other.json.message, /existing ephemeral containers "one" may not be changed/);
  const plain = await lab.client.patch(`${pods}/web`, strategic, add(debugContainer('four')));
  assert.match(plain.json.message, /pod updates may not change fields other than/);
});

test('what they cannot have', async () => {
  const refusal = async (more: object): Promise<string> => (await lab.client.patch(at, strategic, add(debugContainer('bad', more)))).json.message.replace('Pod "web" is invalid: ', '');
  const unwanted = 'Forbidden: cannot be set for an Ephemeral Container';
  assert.is(await refusal({ ports: [{ containerPort: 80 }] }), `spec.ephemeralContainers[0].ports: ${unwanted}`);
  assert.is(await refusal({ resources: { limits: { cpu: '1' } } }), `spec.ephemeralContainers[0].resources: ${unwanted}`);
  assert.is(await refusal({ lifecycle: { preStop: { exec: { command: ['a'] } } } }), `spec.ephemeralContainers[0].lifecycle: ${unwanted}`);
  assert.is(await refusal({ targetContainerName: 'none' }), 'spec.ephemeralContainers[0].targetContainerName: Not found: "none"');
  assert.is(await refusal({ name: 'main' }), 'spec.ephemeralContainers[0].name: Duplicate value: "main"');
  const made = await lab.client.post(pods, { metadata: { name: 'new' }, spec: { containers: [{ name: 'main', image: 'nginx' }], ephemeralContainers: [debugContainer('one')] } });
  assert.equal([made.code, made.json.message], [422, 'Pod "new" is invalid: spec.ephemeralContainers: Forbidden: cannot be set on create']);
  assert.is((await lab.client.patch(`${pods}/none/ephemeralcontainers`, strategic, add(debugContainer('one')))).code, 404);
});

test.run();
