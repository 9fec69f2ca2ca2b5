import type { Plugin } from './plugin.ts';

const reasons = ["node(s) didn't have free ports for the requested pod ports"];

/** Keeps pods that want the same port of the host apart. */
export const nodePorts: Plugin = {
  name: 'NodePorts',
  prepare({ ports }, snapshot) {
    if (ports.length === 0) return undefined;
    return { fits: (slot) => !ports.some((port) => snapshot.portTaken(port, slot)), reasons: () => reasons, resolvable: true };
  },
};
