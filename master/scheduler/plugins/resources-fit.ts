import type { Plugin } from './plugin.ts';

/** Keeps the requests of a node's pods within what the node can give, and their number within its limit. */
export const resourcesFit: Plugin = {
  name: 'NodeResourcesFit',
  prepare({ requests }, snapshot) {
    const needs = [...requests].map(([name, amount]) => ({ name, amount, column: snapshot.column(name) }));
    const pods = snapshot.column('pods');
    return {
      resolvable: true,
      fits(slot) {
        if (snapshot.podCount(slot) >= pods.allocatable[slot]!) return false;
        for (const { amount, column } of needs) if (column.allocatable[slot]! - column.requested[slot]! < amount) return false;
        return true;
      },
      reasons(slot) {
        const found = snapshot.podCount(slot) >= pods.allocatable[slot]! ? ['Too many pods'] : [];
        for (const { name, amount, column } of needs) if (column.allocatable[slot]! - column.requested[slot]! < amount) found.push(`Insufficient ${name}`);
        return found;
      },
    };
  },
};
