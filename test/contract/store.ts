import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConflictError, StoreError, type Change, type Entry, type Store } from '../../master/store/store.ts';
import { StatusError } from '../../shared/status.ts';

/** One store under test. */
export interface Opened {
  readonly store: Store;
  /** Closes the store and opens it again; absent where nothing outlives a store. */
  readonly reopen?: () => Promise<Store>;
  /** Opens a backup; absent where there are none. The caller closes it. */
  readonly openBackup?: (write: (directory: string) => Promise<void>) => Promise<Store>;
  readonly destroy: () => Promise<void>;
}

export const bytes = (text: string): Uint8Array => Buffer.from(text);
export const text = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString();
const at = (revision: number): Uint8Array => bytes(`value at ${revision}`);

export const put = async (store: Store, key: string, expect = 0, value = at): Promise<number> =>
  (await store.write([{ type: 'put', key, expect, value }]))[0]!;
export const remove = async (store: Store, key: string, expect: number): Promise<number> =>
  (await store.write([{ type: 'delete', key, expect, value: at }]))[0]!;

const keysOf = (entries: Iterable<Entry>): string[] => [...entries].map(({ key }) => key);
const revisionsOf = (changes: readonly { revision: number }[]): number[] => changes.map(({ revision }) => revision);

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert.unreachable('resolved'),
    (error: unknown) => error,
  );
}

/** Resolves with the changes after `after` once there are `count` of them. */
export function collect(store: Store, after: number, count: number): Promise<Change[]> {
  return new Promise((resolve) => {
    const seen: Change[] = [];
    const end = new AbortController();
    store.subscribe(
      after,
      (changes) => {
        seen.push(...changes);
        if (seen.length < count) return;
        end.abort();
        resolve(seen);
      },
      end.signal,
    );
  });
}

/** What every {@link Store} must do. Registers and runs a suite. */
export function storeContract(name: string, open: () => Promise<Opened>): void {
  const test = suite<{ opened: Opened; store: Store }>(name);
  test.before.each(async (context) => {
    context.opened = await open();
    context.store = context.opened.store;
  });
  test.after.each((context) => context.opened.destroy());

  test('starts empty at revision 0', ({ store }) => {
    assert.is(store.revision, 0);
    assert.is(store.compactedRevision, 0);
    assert.is(store.get('a'), undefined);
    assert.is(store.get(''), undefined);
    assert.is(store.revisionOf('a'), 0);
    assert.is(store.at(1), undefined);
    assert.is(store.count(''), 0);
    assert.equal([...store.range('')], []);
    assert.ok(store.epoch.length > 8);
  });

  test('creates, updates and deletes under compare-and-swap', async ({ store }) => {
    assert.is(await put(store, 'a'), 1);
    assert.is(await put(store, 'a', 1), 2);
    assert.is(text(store.get('a')?.bytes), 'value at 2');
    assert.is(store.get('a')?.revision, 2);
    assert.is(store.revisionOf('a'), 2);
    assert.is(await remove(store, 'a', 2), 3);
    assert.is(store.get('a'), undefined);
    assert.is(await put(store, 'a'), 4);
    assert.is(store.revision, 4);
    const log = [1, 2, 3, 4].map((revision) => store.at(revision)!);
    assert.equal(log.map(({ type, key, previous }) => [type, key, previous]), [['put', 'a', 0], ['put', 'a', 1], ['delete', 'a', 2], ['put', 'a', 0]]);
    assert.equal(log.map((change) => text(change.bytes)), ['value at 1', 'value at 2', 'value at 3', 'value at 4']);
  });

  test('refuses what does not meet its expectation', async ({ store }) => {
    await put(store, 'a');
    for (const [key, expect, current] of [['a', 0, 1], ['a', 7, 1], ['b', 1, 0]] as const) {
      const error = await rejection(put(store, key, expect));
      assert.instance(error, ConflictError);
      assert.equal([(error as ConflictError).key, (error as ConflictError).expected, (error as ConflictError).current], [key, expect, current]);
    }
    assert.instance(await rejection(remove(store, 'b', 1)), ConflictError);
    assert.is(store.revision, 1);
  });

  test('refuses impossible writes', async ({ store }) => {
    const op = { type: 'put', key: 'a', expect: 0, value: at } as const;
    assert.instance(await rejection(store.write([op, op])), RangeError);
    assert.instance(await rejection(store.write([{ ...op, key: '' }])), RangeError);
    assert.instance(await rejection(store.write([{ ...op, key: 'x'.repeat(5000) }])), RangeError);
    assert.instance(await rejection(remove(store, 'a', 0)), RangeError);
    assert.equal(await store.write([]), []);
    assert.is(store.get('x'.repeat(5000)), undefined);
    assert.is(store.revisionOf('x'.repeat(5000)), 0);
    assert.equal([...store.range('x'.repeat(5000))], []);
    assert.equal([...store.range('', { after: 'x'.repeat(5000) })], []);
  });

  test('writes several ops in one transaction, or none', async ({ store }) => {
    await put(store, 'a');
    const ops = (expectOfA: number) => [
      { type: 'put', key: 'b', expect: 0, value: at },
      { type: 'delete', key: 'a', expect: expectOfA, value: at },
      { type: 'put', key: 'c', expect: 0, value: at },
    ] as const;
    assert.instance(await rejection(store.write(ops(9))), ConflictError);
    assert.equal(keysOf(store.range('')), ['a']);
    assert.equal(await store.write(ops(1)), [2, 3, 4]);
    assert.equal(keysOf(store.range('')), ['b', 'c']);
  });

  test('numbers many writes at once without a gap, in order', async ({ store }) => {
    const seen = collect(store, 0, 500);
    const revisions = await Promise.all(Array.from({ length: 500 }, (_, i) => put(store, `k${i}`)));
    const expected = Array.from({ length: 500 }, (_, i) => i + 1);
    assert.equal(revisions, expected);
    const changes = await seen;
    assert.equal(revisionsOf(changes), expected);
    assert.equal(changes.map(({ key }) => key), expected.map((revision) => `k${revision - 1}`));
  });

  test('shows nothing before it is committed, and everything once it is', async ({ store }) => {
    const writing = put(store, 'a');
    assert.is(store.get('a'), undefined);
    assert.is(store.revision, 0);
    let published = 0;
    store.subscribe(0, (changes) => {
      published += changes.length;
      assert.is(store.revision, changes.at(-1)!.revision);
      assert.is(text(store.get('a')?.bytes), 'value at 1');
    }, new AbortController().signal);
    await writing;
    assert.is(published, 1);
  });

  test('a conflict is told when what it lost against is committed', async ({ store }) => {
    const order: string[] = [];
    const first = put(store, 'a').then(() => order.push('won'));
    const second = rejection(put(store, 'a')).then((error) => {
      order.push('lost');
      assert.instance(error, ConflictError);
      assert.is((error as ConflictError).current, 1);
      assert.is(store.get('a')?.revision, 1);
    });
    await Promise.all([second, first]);
    assert.equal(order, ['won', 'lost']);
  });

  test('a write may build on one that is still under way', async ({ store }) => {
    const results = await Promise.all([put(store, 'a'), put(store, 'a', 1), remove(store, 'a', 2), put(store, 'a')]);
    assert.equal(results, [1, 2, 3, 4]);
    assert.equal([1, 2, 3, 4].map((revision) => store.at(revision)!.previous), [0, 1, 2, 0]);
    assert.is(store.get('a')?.revision, 4);
  });

  test('orders keys by their bytes and keeps to prefixes', async ({ store }) => {
    const keys = ['/a', '/a/', '/a/x', '/a/x/y', '/a/ä', '/a/日本', '/a/\u{ffee}', '/a/\u{1f600}', '/a0', '/b', '\u0000', '~'];
    await Promise.all([...keys].reverse().map((key) => put(store, key)));
    const ordered = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    assert.equal(keysOf(store.range('')), ordered);
    for (const prefix of ['/a', '/a/', '/a/x', '/c', '\u0000', '~', '/a/\u{1f600}', '/a/日']) {
      assert.equal(keysOf(store.range(prefix)), ordered.filter((key) => key.startsWith(prefix)), prefix);
      assert.is(store.count(prefix), ordered.filter((key) => key.startsWith(prefix)).length, prefix);
    }
    for (const key of keys) assert.is(store.get(key)?.key, key);
  });

  test('goes on after a key, which need not exist', async ({ store }) => {
    await Promise.all(['/a/1', '/a/2', '/a/2/x', '/a/3', '/b'].map((key) => put(store, key)));
    for (const [after, keys] of [['/a/2', ['/a/2/x', '/a/3']], ['/a/25', ['/a/3']], ['/a/3', []], ['/', ['/a/1', '/a/2', '/a/2/x', '/a/3']], ['/b', []], ['', ['/a/1', '/a/2', '/a/2/x', '/a/3']]] as const) {
      assert.equal(keysOf(store.range('/a/', { after })), keys, after);
      assert.is(store.count('/a/', after), keys.length, after);
    }
  });

  test('reads an older state', async ({ store }) => {
    await put(store, 'kept');
    await put(store, 'changed');
    await put(store, 'deleted');
    await put(store, 'again');
    await put(store, 'changed', 2);
    await remove(store, 'deleted', 3);
    await remove(store, 'again', 4);
    await put(store, 'again');
    await put(store, 'new');
    await remove(store, 'new', 9);
    const state = (atRevision: number) => [...store.range('', { atRevision })].map((entry) => [entry.key, entry.revision]);
    assert.equal(state(0), []);
    assert.equal(state(3), [['changed', 2], ['deleted', 3], ['kept', 1]]);
    assert.equal(state(4), [['again', 4], ['changed', 2], ['deleted', 3], ['kept', 1]]);
    assert.equal(state(5), [['again', 4], ['changed', 5], ['deleted', 3], ['kept', 1]]);
    assert.equal(state(7), [['changed', 5], ['kept', 1]]);
    assert.equal(state(9), [['again', 8], ['changed', 5], ['kept', 1], ['new', 9]]);
    assert.equal(state(10), [['again', 8], ['changed', 5], ['kept', 1]]);
    assert.equal([...store.range('', { atRevision: 4, after: 'again' })].map((entry) => text(entry.bytes)), ['value at 2', 'value at 3', 'value at 1']);
    assert.equal(keysOf(store.range('d', { atRevision: 4 })), ['deleted']);
  });

  test('an iteration sees one state although others write meanwhile', async ({ store }) => {
    for (let i = 100; i < 400; i++) void put(store, `k${i}`);
    await put(store, 'last');
    const seen: Entry[] = [];
    for (const entry of store.range('')) {
      seen.push(entry);
      if (seen.length === 1 || seen.length === 150) {
        await Promise.all([put(store, `k${seen.length}00x`), remove(store, 'k350', store.get('k350')?.revision ?? 0).catch(() => undefined), put(store, 'k399', store.get('k399')!.revision)]);
      }
    }
    assert.equal(seen.map(({ key }) => key), [...Array.from({ length: 300 }, (_, i) => `k${i + 100}`), 'last']);
    assert.ok(seen.every(({ revision }) => revision <= 301));
  });

  test('brief entries are good until the next call', async ({ store }) => {
    for (let index = 0; index < 200; index++) await put(store, `brief ${String(index).padStart(3, '0')}`, 0, () => Buffer.from(`value ${index}`));
    const seen = Array.from(store.range('brief ', { brief: true }), (entry) => text(entry.bytes));
    assert.equal(seen, Array.from({ length: 200 }, (_, index) => `value ${index}`));
  });

  test('two iterations of one range are independent', async ({ store }) => {
    await Promise.all(['a', 'b', 'c'].map((key) => put(store, key)));
    const range = store.range('');
    const first = range[Symbol.iterator]();
    first.next();
    assert.equal(keysOf(range), ['a', 'b', 'c']);
    assert.is((first.next().value as Entry).key, 'b');
    first.return?.();
  });

  test('bytes stay what they were', async ({ store }) => {
    for (const [key, size] of [['a', 10], ['b', 5000], ['c', 100_000]] as const) {
      await put(store, `${key}1`, 0, () => Buffer.alloc(size, `${key}1`));
      await put(store, `${key}2`, 0, () => Buffer.alloc(size, `${key}2`));
      const first = store.get(`${key}1`)!;
      const kept = Buffer.from(first.bytes);
      store.get(`${key}2`);
      for (const _ of store.range('')) void _;
      await put(store, `${key}3`, 0, () => Buffer.alloc(size, `${key}3`));
      assert.ok(Buffer.compare(kept, first.bytes) === 0, key);
    }
  });

  test('keeps values from nothing to megabytes', async ({ store }) => {
    const sizes = [0, 1, 2000, 2700, 4096, 16_384, 70_000, 1_500_000];
    for (const size of sizes) await put(store, `size ${size}`, 0, () => Buffer.alloc(size, 'v'));
    for (const size of sizes) assert.is(store.get(`size ${size}`)!.bytes.length, size);
    assert.equal([...store.range('size ')].map((entry) => entry.bytes.length).sort((a, b) => a - b), sizes);
    assert.equal((await collect(store, 0, sizes.length)).map((change) => change.bytes.length), sizes);
  });

  test('a subscriber gets the log first and then what follows, once each', async ({ store }) => {
    await Promise.all(Array.from({ length: 700 }, (_, i) => put(store, `k${i}`)));
    const seen = collect(store, 100, 800);
    const writers = (async () => {
      for (let i = 0; i < 200; i++) await put(store, `late${i}`);
    })();
    assert.equal(revisionsOf(await seen), Array.from({ length: 800 }, (_, i) => i + 101));
    await writers;
  });

  test('live subscribers share one array per commit', async ({ store }) => {
    const end = new AbortController();
    const seen: (readonly Change[])[] = [];
    store.subscribe(0, (changes) => seen.push(changes), end.signal);
    store.subscribe(0, (changes) => seen.push(changes), end.signal);
    await Promise.all([put(store, 'a'), put(store, 'b')]);
    assert.is(seen.length, 2);
    assert.is(seen[0], seen[1]);
    assert.is(seen[0]!.length, 2);
    end.abort();
    await put(store, 'c');
    assert.is(seen.length, 2);
  });

  test('a subscription may start in the future, inside a callback, or aborted', async ({ store }) => {
    const ahead = collect(store, 2, 1);
    const end = new AbortController();
    const inner: number[] = [];
    let outer = 0;
    store.subscribe(0, (changes) => {
      if (outer++ === 0) store.subscribe(changes.at(-1)!.revision, (more) => inner.push(...revisionsOf(more)), end.signal);
    }, end.signal);
    store.subscribe(0, () => assert.unreachable(), AbortSignal.abort());
    await put(store, 'a');
    await put(store, 'b');
    await put(store, 'c');
    assert.equal(revisionsOf(await ahead), [3]);
    assert.equal(inner, [2, 3]);
    end.abort();
  });

  test('deletions are those of a part of the log, until they are compacted', async ({ store }) => {
    await put(store, 'a');
    await remove(store, 'a', 1);
    await put(store, 'b');
    await remove(store, 'b', 3);
    await put(store, 'a');
    await remove(store, 'a', 5);
    assert.equal(store.deletions(0, 100).map(({ revision, key, type, previous, bytes: value }) => [revision, key, type, previous, text(value)]),
      [[2, 'a', 'delete', 1, 'value at 2'], [4, 'b', 'delete', 3, 'value at 4'], [6, 'a', 'delete', 5, 'value at 6']]);
    assert.equal(revisionsOf(store.deletions(2, 5)), [4]);
    assert.equal(revisionsOf(store.deletions(6, 6)), []);
    await store.compact(4);
    assert.equal(revisionsOf(store.deletions(0, 6)), [6]);
  });

  test('compaction forgets what is superseded and keeps what is current', async ({ store }) => {
    await put(store, 'kept');
    await put(store, 'changed');
    await put(store, 'deleted');
    await put(store, 'changed', 2);
    await remove(store, 'deleted', 3);
    await put(store, 'changed', 4);
    await store.compact(5);
    assert.is(store.compactedRevision, 5);
    assert.equal([2, 3, 5].map((revision) => store.at(revision)), [undefined, undefined, undefined]);
    assert.is(store.at(4)?.key, 'changed', 'the state at the compacted revision stays readable');
    assert.equal([...store.range('')].map((entry) => [entry.key, text(entry.bytes)]), [['changed', 'value at 6'], ['kept', 'value at 1']]);
    assert.equal([...store.range('', { atRevision: 5 })].map((entry) => [entry.key, text(entry.bytes)]), [['changed', 'value at 4'], ['kept', 'value at 1']]);
    assert.is(store.at(6)?.previous, 4);
    await store.compact(6);
    assert.is(store.at(4), undefined);
    assert.is(await put(store, 'deleted'), 7);
    assert.equal(keysOf(store.range('', { atRevision: 6 })), ['changed', 'kept']);
  });

  test('compaction beyond the end, backwards and repeated', async ({ store }) => {
    await put(store, 'a');
    await remove(store, 'a', 1);
    await store.compact(100);
    assert.is(store.compactedRevision, 2);
    await store.compact(1);
    assert.is(store.compactedRevision, 2);
    assert.is(await put(store, 'a'), 3);
    await Promise.all([store.compact(2), store.compact(3), store.compact(3)]);
    assert.equal(keysOf(store.range('')), ['a']);
  });

  test('old reads and subscriptions before the compacted revision are expired', async ({ store }) => {
    await Promise.all(['a', 'b', 'c'].map((key) => put(store, key)));
    await store.compact(2);
    for (const attempt of [() => store.range('', { atRevision: 1 }), () => store.subscribe(1, () => undefined, new AbortController().signal)]) {
      assert.throws(attempt, (error: unknown) => error instanceof StatusError && error.code === 410 && error.reason === 'Expired');
    }
    assert.equal(keysOf(store.range('', { atRevision: 2 })), ['a', 'b']);
    assert.equal(revisionsOf(await collect(store, 2, 1)), [3]);
  });

  test('compaction waits for a subscriber that is catching up, and beside it writes go on', async ({ store }) => {
    await put(store, 'a');
    for (let revision = 1; revision < 2500; revision++) void put(store, 'a', revision);
    await put(store, 'a', 2500);
    const seen = collect(store, 0, 2501);
    const compacting = store.compact(2400);
    assert.is(await put(store, 'b'), 2502);
    await compacting;
    assert.equal(revisionsOf((await seen).slice(0, 2501)), Array.from({ length: 2501 }, (_, i) => i + 1));
    assert.is(store.at(2399), undefined);
    assert.is(store.at(2400)?.key, 'a');
  });

  test('close waits for what is being written and then refuses', async ({ store }) => {
    const writing = Promise.all([put(store, 'a'), put(store, 'b')]);
    await Promise.all([store.close(), store.close()]);
    assert.equal(await writing, [1, 2]);
    assert.instance(await rejection(put(store, 'c')), StoreError);
    assert.throws(() => store.get('a'), (error: unknown) => error instanceof StoreError);
  });

  test('all of it is there after opening again', async ({ opened, store }) => {
    if (!opened.reopen) return;
    await put(store, 'a');
    await put(store, 'b');
    await put(store, 'a', 1);
    await remove(store, 'b', 2);
    const { epoch } = store;
    let again = await opened.reopen();
    assert.equal([again.epoch, again.revision, again.compactedRevision], [epoch, 4, 0]);
    assert.equal((await collect(again, 1, 3)).map(({ type, key, previous }) => [type, key, previous]), [['put', 'b', 0], ['put', 'a', 1], ['delete', 'b', 2]]);
    assert.equal(keysOf(again.range('', { atRevision: 2 })), ['a', 'b']);
    await again.compact(4);
    again = await opened.reopen();
    assert.equal([again.revision, again.compactedRevision], [4, 4], 'although the newest change was a deletion');
    assert.is(await put(again, 'b'), 5);
  });

  test('a backup is a store of its own', async ({ opened, store }) => {
    if (!opened.openBackup) return;
    await Promise.all(Array.from({ length: 300 }, (_, i) => put(store, `k${i}`)));
    await put(store, 'k0', 1);
    const writing = Promise.all(Array.from({ length: 50 }, (_, i) => put(store, `later${i}`)));
    const copy = await opened.openBackup((directory) => store.backup(directory));
    await writing;
    assert.is.not(copy.epoch, store.epoch);
    assert.ok(copy.revision >= 301 && copy.revision <= 351);
    assert.is(text(copy.get('k0')?.bytes), 'value at 301');
    assert.is(copy.count('k'), 300);
    const next = copy.revision + 1;
    assert.is(await put(copy, 'only in the copy'), next);
    assert.is(store.get('only in the copy'), undefined);
    await copy.close();
  });

  test.run();
}
