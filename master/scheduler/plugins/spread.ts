import type { Plugin } from './plugin.ts';

/**
 * Prefers nodes with fewer pods of the same controller. The score falls with the number on the node alone, so that
 * placing one pod changes one node's score; the first neighbour costs more than any difference in load.
 */
export const spread: Plugin = {
  name: 'PodTopologySpread',
  prepare({ group }, snapshot) {
    if (!group) return undefined;
    return { weight: 3, score: (slot) => 100 / (1 + snapshot.groupCount(group, slot)) };
  },
};
