import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { State } from '../../agent/state/state.ts';
import type { Item } from '../../shared/protocol.ts';

export const configMap = (name: string, revision: number, text = ''): Item =>
  ({ type: 'configMap', revision, object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' }, data: { text } } });

export interface StateFactory {
  /** A fresh, empty state. */
  open(): Promise<State>;
  /** Closes a state and opens what it left; absent for one that survives nothing. */
  reopen?(state: State): Promise<State>;
}

/** What every implementation of State has to do. */
export function stateContract(name: string, { open, reopen }: StateFactory): void {
  const test = suite(`state contract: ${name}`);
  const keys = (state: State): string[] => [...state.items.keys()].sort();

  test('holds nothing at first', async () => {
    const state = await open();
    assert.equal({ ...state.held }, { epoch: '', revision: 0 });
    assert.is(state.items.size, 0);
    await state.close();
  });

  test('upserts and removes, and tells subscribers which keys changed', async () => {
    const state = await open();
    const told: string[][] = [];
    const stop = state.subscribe((changed) => told.push([...changed].sort()));
    await state.apply({ epoch: 'e', revision: 5, complete: true, items: [configMap('a', 1), configMap('b', 2)], removed: [] });
    await state.apply({ epoch: 'e', revision: 6, complete: false, items: [configMap('c', 6)], removed: ['configMap/default/a'] });
    stop();
    await state.apply({ epoch: 'e', revision: 7, complete: false, items: [], removed: ['configMap/default/b'] });
    assert.equal(keys(state), ['configMap/default/c']);
    assert.equal({ ...state.held }, { epoch: 'e', revision: 7 });
    assert.equal(told, [['configMap/default/a', 'configMap/default/b'], ['configMap/default/a', 'configMap/default/c']]);
    await state.close();
  });

  test('a complete batch replaces everything', async () => {
    const state = await open();
    await state.apply({ epoch: 'e', revision: 5, complete: true, items: [configMap('a', 1), configMap('b', 2)], removed: [] });
    await state.apply({ epoch: 'f', revision: 2, complete: true, items: [configMap('b', 1)], removed: [] });
    assert.equal(keys(state), ['configMap/default/b']);
    assert.is(state.held.epoch, 'f');
    await state.close();
  });

  test('refuses what is older than it holds, and updates of another epoch', async () => {
    const state = await open();
    await state.apply({ epoch: 'e', revision: 5, complete: true, items: [configMap('a', 5)], removed: [] });
    for (const batch of [{ epoch: 'e', revision: 4, complete: true }, { epoch: 'e', revision: 4, complete: false }, { epoch: 'f', revision: 9, complete: false }]) {
      let refused = false;
      await state.apply({ ...batch, items: [], removed: [] }).catch(() => { refused = true; });
      assert.ok(refused, JSON.stringify(batch));
    }
    assert.equal(keys(state), ['configMap/default/a']);
    await state.close();
  });

  test('items are visible once they are durable, notes at once', async () => {
    const state = await open();
    const applied = state.apply({ epoch: 'e', revision: 1, complete: true, items: [configMap('a', 1)], removed: [] });
    assert.is(state.items.size, 0);
    await applied;
    assert.is(state.items.size, 1);
    const noted = state.note('n', { x: [1] });
    assert.equal(state.notes.get('n'), { x: [1] });
    await noted;
    await state.note('n', undefined);
    assert.is(state.notes.has('n'), false);
    await state.close();
  });

  if (reopen) {
    test('everything is there after a restart', async () => {
      let state = await open();
      await state.apply({ epoch: 'e', revision: 5, complete: true, items: [configMap('a', 1), configMap('b', 2)], removed: [] });
      await Promise.all([state.note('x', 1), state.note('y', 2), state.note('x', 3)]);
      await state.apply({ epoch: 'e', revision: 6, complete: false, items: [configMap('b', 6, 'new')], removed: ['configMap/default/a'] });
      await state.note('y', undefined);
      state = await reopen(state);
      assert.equal({ ...state.held }, { epoch: 'e', revision: 6 });
      assert.equal([...state.items], [['configMap/default/b', configMap('b', 6, 'new')]]);
      assert.equal([...state.notes], [['x', 3]]);
      await state.close();
    });
  }

  test.run();
}
