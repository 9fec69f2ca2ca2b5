import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { systemClock } from '../../../shared/clock.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { configMap, configMaps, openLab, pod, pods, within, type Json, type Lab } from './support.ts';

const test = suite<{ lab: Lab }>('watches');

test.before.each(async (context) => { context.lab = await openLab(); });
test.after.each(({ lab }) => lab.close());

const create = async (lab: Lab, name: string, labels?: Record<string, string>): Promise<Json> => {
  const answer = await lab.client.post(configMaps, configMap(name, {}, labels));
  assert.is(answer.code, 201, answer.text);
  return answer.json;
};

const relabel = (lab: Lab, name: string, labels: Record<string, string | null>): Promise<unknown> =>
  lab.client.patch(`${configMaps}/${name}`, 'merge-patch+json', { metadata: { labels } });

test('begins with what is there, then follows', async ({ lab }) => {
  await create(lab, 'a');
  await create(lab, 'b');
  const watch = await lab.client.watch(configMaps);
  assert.is(watch.response.headers['content-type'], 'application/json');
  assert.equal(await watch.names(2), ['ADDED a', 'ADDED b']);
  await create(lab, 'c');
  await relabel(lab, 'a', { x: 'y' });
  await lab.client.delete(`${configMaps}/b`);
  assert.equal(await watch.names(3), ['ADDED c', 'MODIFIED a', 'DELETED b']);
  watch.close();
});

test('resumes from a revision without loss or repetition', async ({ lab }) => {
  const { metadata } = await create(lab, 'a');
  await create(lab, 'b');
  await lab.client.delete(`${configMaps}/a`);
  const watch = await lab.client.watch(configMaps, `resourceVersion=${metadata.resourceVersion}`);
  assert.equal(await watch.names(2), ['ADDED b', 'DELETED a']);
  await create(lab, 'c');
  assert.equal(await watch.names(1), ['ADDED c']);
  watch.close();
});

test('many watchers that join while others write see each change once, in order', async ({ lab }) => {
  const { metadata } = await create(lab, 'first');
  const writing = (async () => { for (let n = 0; n < 200; n++) await create(lab, `n${n}`); })();
  const watchers = [];
  for (let n = 0; n < 20; n++) {
    watchers.push(await lab.client.watch(configMaps, `resourceVersion=${metadata.resourceVersion}`));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await writing;
  const expected = Array.from({ length: 200 }, (_, n) => `ADDED n${n}`);
  for (const watch of watchers) {
    assert.equal(await watch.names(200), expected);
    watch.close();
  }
});

test('a revision that compaction took is an ERROR event with 410', async ({ lab }) => {
  await create(lab, 'a');
  await create(lab, 'b');
  await create(lab, 'c');
  await lab.store.compact(lab.store.revision);
  const watch = await lab.client.watch(configMaps, 'resourceVersion=1');
  const { type, object } = await watch.next();
  assert.is(type, 'ERROR');
  assert.equal(object, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: `too old resource version: 1 (${lab.store.compactedRevision})`, reason: 'Expired', code: 410 });
  assert.equal(await watch.ended(), []);
});

test('a revision from the future is refused', async ({ lab }) => {
  const answer = await lab.client.get(`${configMaps}?watch=1&resourceVersion=999`);
  assert.is(answer.code, 504);
  assert.is(answer.json.details.causes[0].reason, 'ResourceVersionTooLarge');
});

test('selectors: objects come and go as they begin and cease to match', async ({ lab }) => {
  await create(lab, 'a', { app: 'web' });
  await create(lab, 'b', { app: 'db' });
  const watch = await lab.client.watch(configMaps, 'labelSelector=app%3Dweb');
  assert.equal(await watch.names(1), ['ADDED a']);
  await relabel(lab, 'b', { app: 'web' });
  await relabel(lab, 'a', { app: 'db' });
  await relabel(lab, 'b', { more: 'x' });
  const added = await watch.next();
  assert.is(`${added.type} ${added.object.metadata.name}`, 'ADDED b');
  const gone = await watch.next();
  assert.is(`${gone.type} ${gone.object.metadata.name}`, 'DELETED a');
  assert.is(gone.object.metadata.labels.app, 'web', 'the last state that matched');
  assert.ok(Number(gone.object.metadata.resourceVersion) > Number(added.object.metadata.resourceVersion), 'under the revision of the change');
  assert.equal(await watch.names(1), ['MODIFIED b']);
  await lab.client.delete(`${configMaps}/a`);
  await lab.client.delete(`${configMaps}/b`);
  assert.equal(await watch.names(1), ['DELETED b']);
  watch.close();
});

test('one object, by field selector and by the old path', async ({ lab }) => {
  await create(lab, 'a');
  const byField = await lab.client.watch(configMaps, 'fieldSelector=metadata.name%3Da');
  const anywhere = await lab.client.watch('/api/v1/configmaps', 'fieldSelector=metadata.name%3Da');
  const old = await lab.client.watch('/api/v1/watch/namespaces/default/configmaps/a');
  for (const watch of [byField, anywhere, old]) assert.equal(await watch.names(1), ['ADDED a']);
  await create(lab, 'b');
  await relabel(lab, 'a', { x: 'y' });
  for (const watch of [byField, anywhere, old]) {
    assert.equal(await watch.names(1), ['MODIFIED a']);
    watch.close();
  }
});

test('field selectors of a kind', async ({ lab }) => {
  const watch = await lab.client.watch(pods, 'fieldSelector=spec.nodeName%3Dnode-1');
  await lab.client.post(pods, pod('web'));
  await lab.client.post(pods, pod('other'));
  const bound = await lab.client.post(`${pods}/web/binding`, { apiVersion: 'v1', kind: 'Binding', metadata: { name: 'web' }, target: { kind: 'Node', name: 'node-1' } });
  assert.is(bound.code, 201, bound.text);
  assert.equal(await watch.names(1), ['ADDED web']);
  watch.close();
});

test('sendInitialEvents ends the initial objects with a bookmark that says so', async ({ lab }) => {
  await create(lab, 'a');
  const watch = await lab.client.watch(configMaps, 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true');
  assert.equal(await watch.names(1), ['ADDED a']);
  const bookmark = await watch.next();
  assert.is(bookmark.type, 'BOOKMARK');
  assert.is(bookmark.object.kind, 'ConfigMap');
  assert.equal(bookmark.object.metadata.annotations, { 'k8s.io/initial-events-end': 'true' });
  assert.is(bookmark.object.metadata.resourceVersion, String(lab.store.revision));
  watch.close();
  const wrong = await lab.client.get(`${configMaps}?watch=1&sendInitialEvents=true`);
  assert.is(wrong.code, 422);
  assert.is(wrong.json.message, 'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
});

test('sendInitialEvents=false begins with nothing', async ({ lab }) => {
  await create(lab, 'a');
  const watch = await lab.client.watch(configMaps, 'sendInitialEvents=false&resourceVersionMatch=NotOlderThan');
  await create(lab, 'b');
  assert.equal(await watch.names(1), ['ADDED b']);
  watch.close();
});

test('ends after its timeout', async ({ lab }) => {
  const started = systemClock.monotonic();
  const watch = await lab.client.watch(configMaps, 'timeoutSeconds=1');
  assert.equal(await watch.ended(), []);
  assert.ok(systemClock.monotonic() - started > 900);
});

test('bookmarks come every minute, and before the end', async () => {
  const clock = new FakeClock();
  const lab = await openLab({ clock });
  await create(lab, 'a');
  const watch = await lab.client.watch(configMaps, `allowWatchBookmarks=true&resourceVersion=${lab.store.revision}&timeoutSeconds=90`);
  const silent = await lab.client.watch(configMaps, `resourceVersion=${lab.store.revision}&timeoutSeconds=90`);
  await lab.client.post(pods, pod('other'));
  await new Promise((resolve) => setTimeout(resolve, 10));
  clock.advance(60_000);
  const bookmark = await watch.next();
  assert.equal(bookmark, { type: 'BOOKMARK', object: { kind: 'ConfigMap', apiVersion: 'v1', metadata: { resourceVersion: String(lab.store.revision), creationTimestamp: null } } });
  clock.advance(30_000);
  assert.equal((await watch.ended()).map(({ type }) => type), ['BOOKMARK']);
  assert.equal(await silent.ended(), []);
  await lab.close();
});

test('as tables: columns with the first event only', async ({ lab }) => {
  await create(lab, 'a');
  const accept = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' };
  const watch = await lab.client.watch(configMaps, '', accept);
  const live = await lab.client.watch(configMaps, `resourceVersion=${lab.store.revision}`, accept);
  const first = await watch.next();
  assert.is(first.object.kind, 'Table');
  assert.is(first.object.columnDefinitions[0].name, 'Name');
  assert.is(first.object.rows[0].cells[0], 'a');
  await create(lab, 'b');
  assert.is((await watch.next()).object.columnDefinitions, null);
  assert.is((await live.next()).object.columnDefinitions[0].name, 'Name');
  await create(lab, 'c');
  const [one, two] = [await watch.next(), await live.next()];
  assert.equal(one, two);
  watch.close();
  live.close();
});

test('as metadata alone', async ({ lab }) => {
  const watch = await lab.client.watch(configMaps, '', { accept: 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io' });
  await create(lab, 'a');
  const { object } = await watch.next();
  assert.equal([object.kind, object.apiVersion, object.metadata.name, object.data], ['PartialObjectMetadata', 'meta.k8s.io/v1', 'a', undefined]);
  watch.close();
});

test('over a WebSocket: a message per event, of any size; the token may come as a protocol', async () => {
  const lab = await openLab({ tokens: { authenticate: (token) => (token === 'token' ? { name: 'browser', groups: [] } : undefined) } });
  await create(lab, 'a');
  const messages: Json[] = [];
  const ws = new WebSocket(`ws://127.0.0.1:${lab.port}${configMaps}?watch=1`, ['base64url.bearer.authorization.k8s.io.dG9rZW4', 'binary.k8s.io']);
  const got = (count: number): Promise<void> => within(5000, new Promise((resolve) => {
    const look = (): void => { if (messages.length >= count) resolve(); else setTimeout(look, 5); };
    look();
  }));
  ws.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString())));
  await got(1);
  assert.is(ws.protocol, 'binary.k8s.io');
  await lab.client.post(configMaps, configMap('middle', { x: 'y'.repeat(1000) }));
  await lab.client.post(configMaps, configMap('large', { x: 'y'.repeat(100_000) }));
  await got(3);
  assert.equal(messages.map(({ type, object }) => `${type} ${object.metadata.name}`), ['ADDED a', 'ADDED middle', 'ADDED large']);
  assert.is(lab.server.watchers, 1);
  ws.close();
  await within(5000, new Promise((resolve) => ws.once('close', resolve)));
  await lab.close();
});

test('a WebSocket for anything else is refused', async ({ lab }) => {
  const ws = new WebSocket(`ws://127.0.0.1:${lab.port}/api/v1/nowhere?watch=1`);
  const [error] = await within(5000, new Promise<[Error]>((resolve) => ws.once('error', (problem) => resolve([problem]))));
  assert.match(error.message, /404/);
});

test('a client that takes nothing is cut off; the others are not', async ({ lab }) => {
  const idle = await lab.client.watch(configMaps, `resourceVersion=${lab.store.revision}`);
  const lively = await lab.client.watch(configMaps, `resourceVersion=${lab.store.revision}`);
  idle.response.pause();
  const closed = new Promise((resolve) => idle.response.socket.once('close', resolve));
  const kind = lab.registry.kinds.find(({ plural }) => plural === 'configmaps')!;
  const reading = lively.names(60);
  for (let n = 0; n < 60; n++) await lab.registry.create(kind, 'default', configMap(`n${n}`, { x: 'y'.repeat(900_000) }));
  await reading;
  for (let tries = 0; lab.server.watchers > 1 && tries < 100; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(lab.server.watchers, 1);
  idle.close();
  lively.close();
  await closed;
});

test('watchers are told when the server stops', async () => {
  const lab = await openLab();
  const watch = await lab.client.watch(configMaps);
  const ended = watch.ended();
  await within(5000, lab.close());
  assert.equal(await ended, []);
});

test.run();
