import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLmdbStore } from '../../master/store/lmdb.ts';
import { openMemoryStore } from '../../master/store/memory.ts';
import { ConflictError, type Op, type Store } from '../../master/store/store.ts';
import { collect, text } from '../contract/store.ts';

const SEEDS = 25;
const STEPS = 60;
const KEYS = ['/a', '/a/', '/a/1', '/a/2', '/a/ü', '/a/\u{1f600}', '/a/\u{ffee}', '/b', '/b/1', '\u0001'];
const PREFIXES = ['', '/', '/a', '/a/', '/b/', '/c', '/a/\u{1f600}'];

/** Numbers from 0 to below `limit`, the same for the same seed (mulberry32). */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) / 4294967296 * limit) | 0;
  };
}

/** The state after every revision, kept in full. */
type Model = ReadonlyMap<string, number>[];

const pick = <T>(choices: readonly T[], next: (limit: number) => number): T => choices[next(choices.length)]!;

/** Ops on distinct keys; one in six expects what is not so. */
function someOps(state: ReadonlyMap<string, number>, next: (limit: number) => number): Op[] {
  const keys = new Set(Array.from({ length: 1 + next(3) }, () => pick(KEYS, next)));
  return [...keys].map((key) => {
    const revision = state.get(key) ?? 0;
    const expect = next(6) === 0 ? next(20) : revision;
    return { type: expect > 0 && next(3) === 0 ? 'delete' : 'put', key, expect, value: (at) => Buffer.from(`${key} ${at}`) };
  });
}

/** What the ops do to a state, or undefined if one of them conflicts. */
function outcome(model: Model, ops: readonly Op[]): Model | undefined {
  const state = model.at(-1)!;
  if (ops.some((op) => (state.get(op.key) ?? 0) !== op.expect)) return undefined;
  const states: ReadonlyMap<string, number>[] = [];
  ops.forEach((op, i) => {
    const after = new Map(states.at(-1) ?? state);
    if (op.type === 'delete') after.delete(op.key);
    else after.set(op.key, model.length + i);
    states.push(after);
  });
  return states;
}

function expected(state: ReadonlyMap<string, number>, prefix: string, after: string | undefined): unknown[] {
  const order = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
  const keys = [...state.keys()].filter((key) => key.startsWith(prefix) && (after === undefined || order(key, after) > 0));
  return keys.sort(order).map((key) => [key, state.get(key), `${key} ${state.get(key)}`]);
}

function checkReads(store: Store, model: Model, next: (limit: number) => number): void {
  const prefix = pick(PREFIXES, next);
  const after = next(2) ? pick(KEYS, next) : undefined;
  const atRevision = store.compactedRevision + next(store.revision - store.compactedRevision + 1);
  const read = (options: object): unknown[] => [...store.range(prefix, options)].map(({ key, revision, bytes }) => [key, revision, text(bytes)]);
  const from = after === undefined ? {} : { after };
  assert.equal(read(from), expected(model.at(-1)!, prefix, after));
  assert.equal(read({ ...from, atRevision }), expected(model[atRevision]!, prefix, after), `at ${atRevision} of ${store.revision}`);
  assert.is(store.count(prefix, after), expected(model.at(-1)!, prefix, after).length);
  const key = pick(KEYS, next);
  assert.is(store.get(key)?.revision, model.at(-1)!.get(key));
}

/** One step: writes of one turn (the later ones may build on the earlier), a compaction, or both stores' reads. */
async function step(stores: readonly Store[], model: Model, next: (limit: number) => number): Promise<void> {
  if (next(12) === 0) {
    const revision = next(model.length + 2);
    await Promise.all(stores.map((store) => store.compact(revision)));
  }
  const writes: { ops: Op[]; revisions: number[] | undefined }[] = [];
  for (let i = next(4); i > 0; i--) {
    const ops = someOps(model.at(-1)!, next);
    const states = outcome(model, ops);
    writes.push({ ops, revisions: states?.map((_, at) => model.length + at) });
    if (states) model.push(...states);
  }
  await Promise.all(stores.map((store) => checkWrites(store, writes)));
}

async function checkWrites(store: Store, writes: readonly { ops: Op[]; revisions: number[] | undefined }[]): Promise<void> {
  const results = await Promise.allSettled(writes.map(({ ops }) => store.write(ops)));
  results.forEach((result, i) => {
    if (result.status === 'fulfilled') assert.equal(result.value, writes[i]!.revisions);
    else assert.ok(!writes[i]!.revisions && result.reason instanceof ConflictError, String(result.reason));
  });
}

const test = suite('stores against a model');

test(`${SEEDS} random histories: both stores are where the model is`, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const directory = await mkdtemp(join(tmpdir(), 'wherry-store-'));
    const next = random(seed);
    const stores = [openMemoryStore(), await openLmdbStore({ directory })];
    const model: Model = [new Map()];
    for (let i = 0; i < STEPS; i++) {
      await step(stores, model, next);
      const reads = next(2 ** 30);
      for (const store of stores) checkReads(store, model, random(reads));
    }
    const [memory, lmdb] = await Promise.all(stores.map(history));
    assert.equal(memory, lmdb, `seed ${seed}`);
    await Promise.all(stores.map((store) => store.close()));
    await rm(directory, { recursive: true });
  }
});

async function history(store: Store): Promise<unknown[]> {
  const missing = store.revision - store.compactedRevision;
  const changes = missing > 0 ? await collect(store, store.compactedRevision, missing) : [];
  return changes.map(({ bytes, revision, key, type, previous }) => [revision, key, type, previous, text(bytes)]);
}

test.run();
