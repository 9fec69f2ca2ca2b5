import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock } from '../../../shared/clock.ts';
import { runCompaction, type CompactionOptions } from '../../../master/store/history.ts';
import { openMemoryStore } from '../../../master/store/memory.ts';
import { StoreError, type Store } from '../../../master/store/store.ts';
import { put } from '../../contract/store.ts';

/** Runs the policy under a clock that stands still but between rounds. `play` is called in each; false ends the run. */
async function run(store: Store, options: CompactionOptions, play: (round: number) => Promise<boolean>): Promise<void> {
  const end = new AbortController();
  let time = 0;
  let round = 0;
  const clock: Clock = {
    now: () => time,
    monotonic: () => time,
    after: (ms, resume) => {
      void play(round++).then((goOn) => {
        if (!goOn) end.abort();
        time += ms;
        resume();
      });
      return () => undefined;
    },
  };
  await runCompaction(store, { ...options, clock }, end.signal);
}

const test = suite('compaction policy');

test('keeps what is younger than keepMs, and forgets the rest', async () => {
  const store = openMemoryStore();
  await put(store, 'found at the start');
  const compacted: number[] = [];
  await run(store, { keepMs: 300, keepRevisions: 0, everyMs: 100 }, async (round) => {
    compacted.push(store.compactedRevision);
    await put(store, `k${round}`);
    return round < 6;
  });
  assert.equal(compacted, [0, 0, 0, 1, 2, 3, 4]);
});

test('keeps the newest revisions whatever their age', async () => {
  const store = openMemoryStore();
  for (let i = 0; i < 10; i++) await put(store, `k${i}`);
  await run(store, { keepMs: 100, keepRevisions: 4, everyMs: 100 }, async (round) => round < 5);
  assert.is(store.compactedRevision, 6);
});

test('tries again after the disk refused', async () => {
  const store = openMemoryStore();
  await put(store, 'a');
  const compact = store.compact.bind(store);
  let refusals = 2;
  store.compact = async (revision) => {
    if (refusals-- > 0) throw new StoreError('no space', undefined);
    await compact(revision);
  };
  const errors: StoreError[] = [];
  await run(store, { keepMs: 100, keepRevisions: 0, everyMs: 100, onError: (error) => errors.push(error) }, async (round) => round < 6);
  assert.is(errors.length, 2);
  assert.is(store.compactedRevision, 1);
});

test('ends with its signal', async () => {
  const end = new AbortController();
  const running = runCompaction(openMemoryStore(), { keepMs: 60_000 }, end.signal);
  end.abort();
  await running;
});

test.run();
