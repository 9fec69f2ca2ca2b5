import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openMemoryStore } from '../../../master/store/memory.ts';
import { StoreError } from '../../../master/store/store.ts';
import { put, storeContract } from '../../contract/store.ts';

storeContract('memory store', async () => {
  const store = openMemoryStore();
  return { store, destroy: () => store.close() };
});

const test = suite('memory store, failing commits');

test('whatever is queued behind a failed commit fails with it, and its revisions are used again', async () => {
  let full = true;
  const store = openMemoryStore({
    beforeCommit: () => {
      if (full) throw new Error('no space');
    },
  });
  const outcomes = await Promise.allSettled([put(store, 'a'), put(store, 'a', 1), put(store, 'b')]);
  assert.ok(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason instanceof StoreError));
  assert.is(store.revision, 0);
  full = false;
  assert.is(await put(store, 'a'), 1);
});

test('what lost against a write that then failed gets its chance', async () => {
  let failures = 1;
  const store = openMemoryStore({
    beforeCommit: () => {
      if (failures-- > 0) throw new Error('no space');
    },
  });
  const [first, second] = await Promise.allSettled([put(store, 'a'), put(store, 'a')]);
  assert.is(first.status, 'rejected');
  assert.equal(second, { status: 'fulfilled', value: 1 });
});

test.run();
